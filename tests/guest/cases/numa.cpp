// Two NUMA nodes: how they are told, and that memory comes from where it is wished for. The machine
// is run.py's NODES: 384 MiB and CPU 0 at node 0, as much and CPU 1 at node 1.
#include <initializer_list>

#include "child.hpp"
#include "memory.hpp"
#include "print.hpp"
#include "test.hpp"

namespace guest {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kNodeBytes = 384 * kMiB;
constexpr uint64_t kBorder = kNodeBytes / kPageSize;  ///< the first frame of node 1
constexpr unsigned kPages = 16;

xen_sysctl_meminfo_t memory_of_node(unsigned node) {
    static xen_sysctl_meminfo_t nodes[4];
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_numainfo);
    op.u.numainfo.num_nodes = 4;
    set_xen_guest_handle(op.u.numainfo.meminfo, nodes);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.numainfo.num_nodes, 2);
    return nodes[node];
}

/// How many of the pages that a domain gets with those flags lie at node 1; -1: it got none.
int at_node_1(domid_t domain, uint32_t mem_flags) {
    static xen_pfn_t frames[kPages];
    xen_memory_reservation_t r = {
        .nr_extents = kPages, .extent_order = 0, .mem_flags = mem_flags, .domid = domain};
    set_xen_guest_handle(r.extent_start, frames);
    if (memory_op(XENMEM_increase_reservation, &r) != kPages) return -1;
    int count = 0;
    for (const xen_pfn_t frame : frames) count += frame >= kBorder;
    return count;
}

long set_affinity(domid_t domain, uint64_t nodes) {
    xen_domctl_t op = domctl_of(XEN_DOMCTL_setnodeaffinity, domain);
    op.u.nodeaffinity.nodemap.nr_bits = 64;
    set_xen_guest_handle(op.u.nodeaffinity.nodemap.bitmap, reinterpret_cast<uint8_t*>(&nodes));
    return domctl(&op);
}

uint64_t affinity_of(domid_t domain) {
    uint64_t nodes = ~uint64_t{0};
    xen_domctl_t op = domctl_of(XEN_DOMCTL_getnodeaffinity, domain);
    op.u.nodeaffinity.nodemap.nr_bits = 64;
    set_xen_guest_handle(op.u.nodeaffinity.nodemap.bitmap, reinterpret_cast<uint8_t*>(&nodes));
    CHECK_EQ(domctl(&op), 0);
    return nodes;
}

}  // namespace

TEST(numa_nodes_shown, "XEN_SYSCTL numainfo, cputopoinfo: memory, distances, CPUs of two nodes",
     "nodes;cpus=2") {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_physinfo);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.physinfo.nr_nodes, 2);
    CHECK(op.u.physinfo.max_node_id >= 1);
    const uint64_t free = settled_free_pages();
    CHECK_EQ(memory_of_node(0).memsize, kNodeBytes);
    const uint64_t last = memory_of_node(1).memsize;  // without the firmware's tables at its end
    CHECK(last <= kNodeBytes && last > kNodeBytes - kMiB);
    CHECK_EQ((memory_of_node(0).memfree + memory_of_node(1).memfree) / kPageSize, free);

    static uint32_t distance[4];
    op = sysctl_of(XEN_SYSCTL_numainfo);
    op.u.numainfo.num_nodes = 2;
    set_xen_guest_handle(op.u.numainfo.distance, distance);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(distance[0], 10);
    CHECK_EQ(distance[1], 25);
    CHECK_EQ(distance[2], 25);
    CHECK_EQ(distance[3], 10);
    set_xen_guest_handle(op.u.numainfo.distance, reinterpret_cast<uint32_t*>(0x1000));
    CHECK_EQ(sysctl(&op), -kEFAULT);

    static xen_sysctl_cputopo_t cpus[2];
    op = sysctl_of(XEN_SYSCTL_cputopoinfo);
    op.u.cputopoinfo.num_cpus = 2;
    set_xen_guest_handle(op.u.cputopoinfo.cputopo, cpus);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(cpus[0].node, 0);
    CHECK_EQ(cpus[1].node, 1);
}

TEST(numa_memory_of_node, "XENMEMF node and exact_node; one that is not there; too much of one",
     "nodes;cpus=2") {
    const domid_t domain = create_domain();
    set_max_memory(domain, 2 * kBorder);
    CHECK_EQ(at_node_1(domain, XENMEMF_exact_node(1)), kPages);
    CHECK_EQ(at_node_1(domain, XENMEMF_exact_node(0)), 0);
    CHECK_EQ(at_node_1(domain, XENMEMF_node(1)), kPages);
    CHECK_EQ(at_node_1(domain, XENMEMF_exact_node(5)), -1);
    CHECK_EQ(at_node_1(domain, XENMEMF_exact_node(99)), -1);
    CHECK_EQ(at_node_1(domain, XENMEMF_node(99)), -1);

    // More in one piece than a node has; then the other one does not help.
    static xen_pfn_t block[1];
    xen_memory_reservation_t r = {
        .nr_extents = 1, .extent_order = 17, .mem_flags = XENMEMF_exact_node(1), .domid = domain};
    set_xen_guest_handle(r.extent_start, block);
    CHECK_EQ(memory_op(XENMEM_increase_reservation, &r), 0);
    destroy_domain(domain);
}

TEST(numa_node_affinity, "XEN_DOMCTL setnodeaffinity: where memory comes from; no such node",
     "nodes;cpus=2") {
    const domid_t domain = create_domain();
    set_max_memory(domain, 8 * kPages);
    CHECK_EQ(set_affinity(domain, 2), 0);
    CHECK_EQ(affinity_of(domain), 2);
    CHECK_EQ(at_node_1(domain, 0), kPages);
    CHECK_EQ(set_affinity(domain, 1), 0);
    CHECK_EQ(affinity_of(domain), 1);
    CHECK_EQ(at_node_1(domain, 0), 0);
    CHECK_EQ(at_node_1(domain, XENMEMF_exact_node(1)), kPages);
    CHECK_EQ(set_affinity(domain, 0x20), -kEINVAL);
    CHECK_EQ(set_affinity(domain, 0), -kEINVAL);
    CHECK_EQ(affinity_of(domain), 1);
    CHECK_EQ(set_affinity(domain, 3), 0);
    const int of_both = at_node_1(domain, 0);
    CHECK(of_both > 0 && of_both < static_cast<int>(kPages));
    destroy_domain(domain);
}

TEST(numa_follows_cpus, "memory comes from the node of the CPUs that a domain may run on",
     "nodes;cpus=2") {
    const domid_t domain = create_domain();
    set_max_memory(domain, 8 * kPages);
    xen_domctl_t op = domctl_of(XEN_DOMCTL_max_vcpus, domain);
    op.u.max_vcpus.max = 1;
    CHECK_EQ(domctl(&op), 0);
    for (const uint64_t cpu : {1, 0}) {
        uint64_t cpus = uint64_t{1} << cpu;
        op = domctl_of(XEN_DOMCTL_setvcpuaffinity, domain);
        op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
        op.u.vcpuaffinity.cpumap_hard.nr_bits = 64;
        set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap,
                             reinterpret_cast<uint8_t*>(&cpus));
        CHECK_EQ(domctl(&op), 0);
        CHECK_EQ(affinity_of(domain), 1 << cpu);
        CHECK_EQ(at_node_1(domain, 0), cpu ? kPages : 0);
    }
    destroy_domain(domain);
}

TEST(numa_unprivileged, "a domain cannot insist on a node; its wish for one is ignored",
     "nodes;cpus=2") {
    Child child;
    set_max_memory(child.id(), Child::kPages + 8);
    const auto ask = [&](uint32_t mem_flags) {
        child.mailbox().scratch[32] = 0;
        auto* r = child.scratch_as<xen_memory_reservation_t>();
        *r = {.nr_extents = 1, .extent_order = 0, .mem_flags = mem_flags, .domid = DOMID_SELF};
        set_xen_guest_handle(r->extent_start, reinterpret_cast<xen_pfn_t*>(Child::scratch(32)));
        return child.call(__HYPERVISOR_memory_op, XENMEM_increase_reservation, Child::scratch(0));
    };
    CHECK_EQ(ask(XENMEMF_exact_node(1)), 0);
    CHECK_EQ(ask(XENMEMF_node(99)), 1);
    CHECK_EQ(ask(XENMEMF_node(1)), 1);
    child.destroy();
}

}  // namespace guest
