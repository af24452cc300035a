// Public advisories (XSA) on hypercalls: memory operations, grants, events, timers, information.
#include <initializer_list>

#include "child.hpp"
#include "events.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

TEST(xsa_29_212_exchange_output, "XSA-29, 212: XENMEM_exchange told to read or write the host",
     "") {
    auto* page = alloc_page();
    const uint64_t mfn = mfn_of(page);
    remap(page, 0);
    xen_pfn_t in[1] = {mfn};
    for (const Arg host : {HYPERVISOR_VIRT_START, HYPERVISOR_VIRT_END - 8}) {
        // So many done already that the element which is next lies at `host`.
        for (const unsigned done : {0u, 1u, 512u}) {
            xen_memory_exchange_t exchange = {};
            exchange.in = {.nr_extents = done + 1, .domid = DOMID_SELF};
            exchange.out = exchange.in;
            exchange.nr_exchanged = done;
            set_xen_guest_handle(exchange.in.extent_start,
                                 reinterpret_cast<xen_pfn_t*>(host - done * 8));
            set_xen_guest_handle(exchange.out.extent_start, in - done);
            CHECK_EQ(memory_op(XENMEM_exchange, &exchange), -kEFAULT);
        }
    }
    remap(page, pte(mfn, kDataFlags));
}

TEST(xsa_212_exchange_answer, "XSA-212: the frame that was got is not written to the host", "") {
    auto* page = alloc_page();
    xen_pfn_t in[2] = {0, mfn_of(page)};
    remap(page, 0);
    xen_memory_exchange_t exchange = {};
    exchange.in = {.nr_extents = 2, .domid = DOMID_SELF};
    exchange.out = exchange.in;
    exchange.nr_exchanged = 1;
    set_xen_guest_handle(exchange.in.extent_start, in);
    set_xen_guest_handle(exchange.out.extent_start,
                         reinterpret_cast<xen_pfn_t*>(HYPERVISOR_VIRT_START - 8));
    CHECK_EQ(memory_op(XENMEM_exchange, &exchange), -kEFAULT);
}

TEST(xsa_31_extent_order, "XSA-31: extents of absurd size, in every reservation call", "") {
    Child child;
    auto* r = child.scratch_as<xen_memory_reservation_t>();
    auto* exchange = child.scratch_as<xen_memory_exchange_t>();
    for (const unsigned order : {10u, 20u, 32u, 52u, 63u, 64u, 255u, ~0u}) {
        *r = {.nr_extents = 1, .extent_order = order, .domid = DOMID_SELF};
        set_xen_guest_handle(r->extent_start, reinterpret_cast<xen_pfn_t*>(Child::scratch(32)));
        for (const unsigned op :
             {XENMEM_populate_physmap, XENMEM_increase_reservation, XENMEM_decrease_reservation})
            CHECK_EQ(child.call(__HYPERVISOR_memory_op, op, Child::scratch(0)), 0);
        exchange->out = exchange->in;
        exchange->nr_exchanged = 0;
        CHECK(child.call(__HYPERVISOR_memory_op, XENMEM_exchange, Child::scratch(0)) < 0);
    }
    CHECK_EQ(child.info().tot_pages, Child::kPages);
    child.destroy();
}

TEST(xsa_31_continuation, "XSA-31: a reservation call that claims to have been interrupted", "") {
    Child child;
    auto* r = child.scratch_as<xen_memory_reservation_t>();
    *r = {.nr_extents = 2, .domid = DOMID_SELF};
    set_xen_guest_handle(r->extent_start, reinterpret_cast<xen_pfn_t*>(Child::scratch(32)));
    constexpr unsigned kShift = 6;
    for (const unsigned long start : {2ul, 3ul, 1ul << 20})
        CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_populate_physmap | start << kShift,
                            Child::scratch(0)),
                 start);
    CHECK_EQ(child.info().tot_pages, Child::kPages);
    child.destroy();
}

TEST(xsa_100_pages_scrubbed, "XSA-100: memory of a dead domain carries nothing to the next", "") {
    {
        Child child;
        for (unsigned page = Child::kFirstFree; page < Child::kPages; ++page) {
            auto* there = child.map(page);
            for (unsigned i = 0; i < 512; ++i) there[i] = 0x5ec7e75ec7e7;
        }
        child.destroy();
    }
    settled_free_pages();
    Child child;
    for (unsigned page = Child::kFirstFree; page < Child::kPages; ++page) {
        const auto* there = child.map(page);
        for (unsigned i = 0; i < 512; ++i) CHECK(there[i] != 0x5ec7e75ec7e7);
    }
    child.destroy();
}

TEST(xsa_122_version_strings, "XSA-122: behind the end of a version string there is nothing", "") {
    static unsigned char buffer[1100];
    const struct {
        int command;
        unsigned size;
    } strings[] = {{XENVER_extraversion, 16}, {XENVER_changeset, 64}, {XENVER_commandline, 1024}};
    for (const auto& s : strings) {
        for (auto& byte : buffer) byte = 0xaa;
        CHECK(xen_version(s.command, buffer) >= 0);
        unsigned i = 0;
        while (i < s.size && buffer[i]) ++i;
        for (; i < s.size; ++i) CHECK(buffer[i] == 0 || buffer[i] == 0xaa);
    }
}

TEST(xsa_20_timers, "XSA-20: timers set to the end of time", "") {
    for (const uint64_t never : {~0ul, 1ul << 63, (1ul << 63) - 1}) {
        vcpu_set_periodic_timer_t periodic = {.period_ns = never};
        CHECK_EQ(vcpu_op(VCPUOP_set_periodic_timer, 0, &periodic), -kEINVAL);
        vcpu_set_singleshot_timer_t once = {.timeout_abs_ns = never};
        (void)vcpu_op(VCPUOP_set_singleshot_timer, 0, &once);
        (void)hypercall(__HYPERVISOR_set_timer_op, never);
        sched_op(SCHEDOP_yield);
    }
    CHECK_EQ(hypercall(__HYPERVISOR_set_timer_op, 0), 0);
    CHECK_EQ(vcpu_op(VCPUOP_stop_singleshot_timer, 0), 0);
    const uint64_t before = system_time();
    CHECK(wait_for([&] { return system_time() > before; }));
}

TEST(xsa_16_free_pirq, "XSA-16, 237: interrupts for a domain that has no devices", "") {
    Child child;
    for (const unsigned type : {MAP_PIRQ_TYPE_GSI, MAP_PIRQ_TYPE_MSI, 77}) {
        // A number may be had (Xen gives one), but nothing that raises it.
        *child.scratch_as<physdev_get_free_pirq_t>() = {.type = static_cast<int>(type)};
        (void)child.call(__HYPERVISOR_physdev_op, PHYSDEVOP_get_free_pirq, Child::scratch(0));
        *child.scratch_as<physdev_map_pirq_t>() = {
            .domid = DOMID_SELF, .type = static_cast<int>(type), .index = -1, .pirq = -1};
        CHECK(child.call(__HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq, Child::scratch(0)) < 0);
    }
    for (const unsigned irq : {0u, 4096u, ~0u}) {
        *child.scratch_as<physdev_unmap_pirq_t>() = {.domid = DOMID_SELF,
                                                     .pirq = static_cast<int>(irq)};
        CHECK(child.call(__HYPERVISOR_physdev_op, PHYSDEVOP_unmap_pirq, Child::scratch(0)) < 0);
        *child.scratch_as<physdev_eoi_t>() = {.irq = irq};
        CHECK(child.call(__HYPERVISOR_physdev_op, PHYSDEVOP_eoi, Child::scratch(0)) < 0);
    }
    child.destroy();
}

TEST(xsa_231_numa_node, "XSA-231: memory asked for on a NUMA node that there is not", "") {
    Child child;
    auto* r = child.scratch_as<xen_memory_reservation_t>();
    for (const unsigned node : {7u, 63u, 64u, 128u, 254u}) {
        child.mailbox().scratch[32] = Child::kPages;
        *r = {.nr_extents = 1, .mem_flags = XENMEMF_exact_node(node), .domid = DOMID_SELF};
        set_xen_guest_handle(r->extent_start, reinterpret_cast<xen_pfn_t*>(Child::scratch(32)));
        CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, Child::scratch(0)), 0);
    }
    CHECK_EQ(child.info().tot_pages, Child::kPages);
    child.destroy();
}

TEST(xsa_327_vcpu_info_place, "XSA-327: vcpu_info at odd offsets, across a page, in a table", "") {
    Child child;
    auto* info = child.scratch_as<vcpu_register_vcpu_info_t>();
    for (const unsigned offset : {1u, 4u, 60u, 4096u - 32, 4096u, ~0u - 7}) {
        *info = {.mfn = child.mfn(9), .offset = offset};
        CHECK(child.call(__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, 0, Child::scratch(0)) <
              0);
    }
    for (const uint64_t mfn : {child.mfn(3), mfn_of(alloc_page()), ~0ul}) {
        *info = {.mfn = mfn};
        CHECK(child.call(__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, 0, Child::scratch(0)) <
              0);
    }
    child.destroy();
}

TEST(xsa_317_ports_run_out, "XSA-317, 344: a domain takes every port it may have, then ends", "") {
    const uint64_t before = settled_free_pages();
    Child child;
    auto* op = child.scratch_as<evtchn_alloc_unbound_t>();
    unsigned taken = 0;
    long rc;
    do {
        *op = {.dom = DOMID_SELF, .remote_dom = 0};
        rc = child.call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, Child::scratch(0));
    } while (rc == 0 && ++taken < 5000);
    CHECK_EQ(rc, -kENOSPC);
    CHECK_EQ(taken, 1023);
    child.destroy();
    expect_free_pages(before);
}

TEST(xsa_107_fifo_control, "XSA-107, 342, 358: FIFO calls out of order and out of bounds", "") {
    Child child;
    const auto call = [&](unsigned command) {
        return child.call(__HYPERVISOR_event_channel_op, command, Child::scratch(0));
    };
    *child.scratch_as<evtchn_expand_array_t>() = {.array_gfn = child.mfn(9)};
    CHECK(call(EVTCHNOP_expand_array) < 0);
    auto* init = child.scratch_as<evtchn_init_control_t>();
    for (const unsigned offset : {4u, 4096u - 64, 4096u, 0xfffffff8u}) {
        *init = {.control_gfn = child.mfn(9), .offset = offset};
        CHECK_EQ(call(EVTCHNOP_init_control), -kEINVAL);
    }
    for (const unsigned vcpu : {1u, 32u, ~0u}) {
        *init = {.control_gfn = child.mfn(9), .vcpu = vcpu};
        CHECK_EQ(call(EVTCHNOP_init_control), -kENOENT);
    }
    // A page table, another domain's frame, none.
    for (const uint64_t gfn : {child.mfn(3), mfn_of(alloc_page()), ~0ul}) {
        *init = {.control_gfn = gfn};
        CHECK(call(EVTCHNOP_init_control) < 0);
    }
    child.destroy();
}

TEST(xsa_334_acquire_repeated, "XSA-334: a refused XENMEM_acquire_resource holds no lock", "") {
    Child child;
    static xen_pfn_t frames[2];
    for (unsigned i = 0; i < 3; ++i) {
        xen_mem_acquire_resource_t r = {.domid = child.id(),
                                        .type = XENMEM_resource_grant_table,
                                        .id = XENMEM_resource_grant_table_id_status,
                                        .nr_frames = 1};
        set_xen_guest_handle(r.frame_list, frames);
        CHECK(memory_op(XENMEM_acquire_resource, &r) < 0);
        r.id = XENMEM_resource_grant_table_id_shared;
        r.frame = 1ul << 31;
        CHECK(memory_op(XENMEM_acquire_resource, &r) < 0);
    }
    child.destroy();
}

}  // namespace guest
