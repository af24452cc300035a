// Virtual NUMA nodes: told by the tools, asked by the guest, used by its reservations.
#include <initializer_list>

#include "child.hpp"
#include "print.hpp"
#include "test.hpp"

namespace guest {
namespace {

/// Two nodes of 64 MiB, both on the machine's node 0, with one vCPU.
struct Told {
    unsigned distances[4] = {10, 30, 40, 10};
    unsigned vcpu_nodes[1] = {1};
    unsigned nodes[2] = {0, 0};
    xen_vmemrange_t ranges[2] = {{.start = 0, .end = 64 << 20, .flags = 0, .nid = 0},
                                 {.start = 64 << 20, .end = 128 << 20, .flags = 0, .nid = 1}};

    xen_domctl_t op(domid_t domain) {
        xen_domctl_t op = domctl_of(XEN_DOMCTL_setvnumainfo, domain);
        op.u.vnuma.nr_vnodes = 2;
        op.u.vnuma.nr_vmemranges = 2;
        op.u.vnuma.nr_vcpus = 1;
        set_xen_guest_handle(op.u.vnuma.vdistance, distances);
        set_xen_guest_handle(op.u.vnuma.vcpu_to_vnode, vcpu_nodes);
        set_xen_guest_handle(op.u.vnuma.vnode_to_pnode, nodes);
        set_xen_guest_handle(op.u.vnuma.vmemrange, ranges);
        return op;
    }
};

struct Asked {
    unsigned distances[4] = {};
    unsigned vcpu_nodes[1] = {77};
    xen_vmemrange_t ranges[2] = {};
    xen_vnuma_topology_info topology = {};

    explicit Asked(domid_t domain) {
        topology.domid = domain;
        topology.nr_vnodes = topology.nr_vmemranges = 2;
        topology.nr_vcpus = 1;
        set_xen_guest_handle(topology.vdistance.h, distances);
        set_xen_guest_handle(topology.vcpu_to_vnode.h, vcpu_nodes);
        set_xen_guest_handle(topology.vmemrange.h, ranges);
    }
    long ask() { return memory_op(XENMEM_get_vnumainfo, &topology); }
};

/// How many pages a domain gets with those flags, of one wished for.
long get_page(domid_t domain, uint32_t mem_flags) {
    static xen_pfn_t frame[1];
    xen_memory_reservation_t r = {
        .nr_extents = 1, .extent_order = 0, .mem_flags = mem_flags, .domid = domain};
    set_xen_guest_handle(r.extent_start, frame);
    return memory_op(XENMEM_increase_reservation, &r);
}

}  // namespace

TEST(vnuma_told_and_asked, "XEN_DOMCTL_setvnumainfo, XENMEM_get_vnumainfo: what is told comes back",
     "") {
    const domid_t domain = create_domain();
    Asked asked(domain);
    CHECK_EQ(asked.ask(), -kEOPNOTSUPP);
    Told told;
    xen_domctl_t op = told.op(domain);
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(asked.ask(), 0);
    CHECK_EQ(asked.distances[1], 30);
    CHECK_EQ(asked.distances[2], 40);
    CHECK_EQ(asked.vcpu_nodes[0], 1);
    CHECK_EQ(asked.ranges[1].start, 64 << 20);
    CHECK_EQ(asked.ranges[1].nid, 1);
    told.distances[1] = 50;  // a second time takes the place of the first
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(asked.ask(), 0);
    CHECK_EQ(asked.distances[1], 50);

    asked.topology.nr_vnodes = 1;
    CHECK_EQ(asked.ask(), -kENOBUFS);
    CHECK_EQ(asked.topology.nr_vnodes, 2);
    asked.topology.nr_vmemranges = 0;
    CHECK_EQ(asked.ask(), -kENOBUFS);
    CHECK_EQ(asked.topology.nr_vmemranges, 2);
    asked.topology.pad = 1;
    CHECK_EQ(asked.ask(), -kEINVAL);
    asked.topology.pad = 0;
    set_xen_guest_handle(asked.topology.vdistance.h, reinterpret_cast<unsigned*>(0x1000));
    CHECK_EQ(asked.ask(), -kEFAULT);
    CHECK_EQ(memory_op(XENMEM_get_vnumainfo, reinterpret_cast<void*>(0x1000)), -kEFAULT);
    asked.topology.domid = 1234;
    CHECK_EQ(asked.ask(), -kESRCH);
    destroy_domain(domain);
}

TEST(vnuma_refuses, "XEN_DOMCTL_setvnumainfo: sizes, nodes, flags and pointers that cannot be",
     "") {
    const domid_t domain = create_domain();
    const auto rc = [&](auto change) {
        Told told;
        xen_domctl_t op = told.op(domain);
        change(told, op.u.vnuma);
        return domctl(&op);
    };
    CHECK_EQ(rc([](Told&, auto& v) { v.nr_vnodes = 0; }), -kEINVAL);
    CHECK_EQ(rc([](Told&, auto& v) { v.nr_vnodes = 33; }), -kEINVAL);
    CHECK_EQ(rc([](Told&, auto& v) { v.nr_vnodes = 0x80000000; }), -kEINVAL);
    CHECK_EQ(rc([](Told&, auto& v) { v.nr_vmemranges = 1000; }), -kEINVAL);
    CHECK_EQ(rc([](Told&, auto& v) { v.nr_vcpus = 2; }), -kEINVAL);
    CHECK_EQ(rc([](Told&, auto& v) { v.pad = 1; }), -kEINVAL);
    CHECK_EQ(rc([](Told& t, auto&) { t.vcpu_nodes[0] = 2; }), -kE2BIG);
    CHECK_EQ(rc([](Told& t, auto&) { t.nodes[1] = 64; }), -kE2BIG);
    CHECK_EQ(rc([](Told& t, auto&) { t.ranges[1].flags = 1; }), -kEINVAL);
    CHECK_EQ(rc([](Told&, auto& v) {
                 set_xen_guest_handle(v.vmemrange, reinterpret_cast<xen_vmemrange_t*>(0x1000));
             }),
             -kEFAULT);
    CHECK_EQ(rc([](Told&, auto& v) {
                 set_xen_guest_handle(v.vnode_to_pnode, reinterpret_cast<unsigned*>(0x1000));
             }),
             -kEFAULT);
    CHECK_EQ(Asked(domain).ask(), -kEOPNOTSUPP);  // nothing of all that was kept
    destroy_domain(domain);
}

TEST(vnuma_reservation, "XENMEMF_vnode: by the domain's own nodes; one that it has not", "") {
    const domid_t domain = create_domain();
    set_max_memory(domain, 16);
    const auto of_node = [](unsigned node) { return XENMEMF_vnode | XENMEMF_node(node); };
    CHECK_EQ(get_page(domain, of_node(7)), 1);  // no nodes: the flag means nothing
    Told told;
    xen_domctl_t op = told.op(domain);
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(get_page(domain, of_node(1)), 1);
    CHECK_EQ(get_page(domain, of_node(1) | XENMEMF_exact_node_request), 1);
    CHECK_EQ(get_page(domain, of_node(2)), 0);
    told.nodes[1] = 9;  // a node that the machine has not
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(get_page(domain, of_node(1)), 1);
    CHECK_EQ(get_page(domain, of_node(1) | XENMEMF_exact_node_request), 0);
    destroy_domain(domain);
}

TEST(vnuma_unprivileged, "a domain sees its own nodes and no others', and cannot tell any", "") {
    Child child;
    Told told;
    xen_domctl_t op = told.op(child.id());
    CHECK_EQ(domctl(&op), 0);
    const auto ask = [&](domid_t domain) {
        xen_vnuma_topology_info topology = {};
        topology.domid = domain;
        topology.nr_vnodes = topology.nr_vmemranges = 2;
        topology.nr_vcpus = 1;
        set_xen_guest_handle(topology.vdistance.h, reinterpret_cast<unsigned*>(Child::scratch(64)));
        set_xen_guest_handle(topology.vcpu_to_vnode.h,
                             reinterpret_cast<unsigned*>(Child::scratch(72)));
        set_xen_guest_handle(topology.vmemrange.h,
                             reinterpret_cast<xen_vmemrange_t*>(Child::scratch(80)));
        return child.call_with(__HYPERVISOR_memory_op, XENMEM_get_vnumainfo, topology);
    };
    CHECK_EQ(ask(DOMID_SELF), 0);
    CHECK_EQ(child.mailbox().scratch[64] >> 32, 30);
    CHECK_EQ(ask(0), -kEPERM);
    child.destroy();
}

}  // namespace guest
