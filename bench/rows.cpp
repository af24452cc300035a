// The hypercalls that are counted, and what they cost with more in one call. Each row prints
// "BENCH name minimum median samples"; upcalls are masked. Ways in and out of the guest:
// rows_traps.cpp.
#include <initializer_list>

#include "events.hpp"
#include "grants.hpp"
#include "measure.hpp"
#include "memory.hpp"
#include "platform.hpp"
#include "traps.hpp"

extern "C" {
uint32_t time_read_cr0();
}

namespace guest {
namespace {

constexpr unsigned kFurther = 100;  // entries behind the first, for the rows "each further"

/// One hypercall, which must answer `expected` every time.
Cost call(unsigned number, Arg a1 = 0, Arg a2 = 0, Arg a3 = 0, Arg a4 = 0, long expected = 0) {
    const Cost cost = net([=] {
        const uint32_t ticks = time_hypercall(number, a1, a2, a3, a4);
        if (last_result != expected) fail("hypercall %u answers %ld", number, last_result);
        return ticks;
    });
    return cost;
}

}  // namespace

TEST(null_hypercall, "xen_version, and a number that is none", "") {
    report("null_hypercall", call(__HYPERVISOR_xen_version, XENVER_version, 0, 0, 0, 4 << 16 | 17));
    report("unknown_hypercall", call(63, 0, 0, 0, 0, -kENOSYS));
}

TEST(multicall, "multicall of one entry, and each further", "") {
    static multicall_entry_t list[1 + kFurther];
    for (auto& entry : list) entry = {.op = __HYPERVISOR_xen_version, .args = {XENVER_version}};
    const Cost one = call(__HYPERVISOR_multicall, addr(list), 1);
    const Cost many = call(__HYPERVISOR_multicall, addr(list), 1 + kFurther);
    report("multicall_one", one);
    report("multicall_further", many, one.minimum, kFurther);
}

TEST(mmu_update, "mmu_update of one entry, and each further: same value; set and clear", "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    const uint64_t value = pte(mfn_of(page), kDataFlags);
    static mmu_update_t list[1 + kFurther];
    for (unsigned i = 0; i <= kFurther; ++i) {
        list[i] = {machine_address(&window.l1[i]), value};
        CHECK_EQ(window.map(i, value), 0);
    }
    const Cost one = call(__HYPERVISOR_mmu_update, addr(list), 1, 0, DOMID_SELF);
    report("mmu_update_one", one);
    report("mmu_update_further_same",
           call(__HYPERVISOR_mmu_update, addr(list), 1 + kFurther, 0, DOMID_SELF), one.minimum,
           kFurther);
    // Entries by pairs: set, clear; the first stays as it was.
    for (unsigned i = 1; i <= kFurther; ++i)
        list[i] = {machine_address(&window.l1[1 + (i - 1) / 2]), i % 2 ? 0 : value};
    report("mmu_update_further_set_clear",
           call(__HYPERVISOR_mmu_update, addr(list), 1 + kFurther, 0, DOMID_SELF), one.minimum,
           kFurther);
}

TEST(update_va_mapping, "update_va_mapping, the same value, no flush", "") {
    const Window window = open_window();
    const uint64_t value = pte(mfn_of(alloc_page()), kDataFlags);
    CHECK_EQ(window.map(0, value), 0);
    report("update_va_mapping", call(__HYPERVISOR_update_va_mapping, window.va(0), value, 0));
}

TEST(new_baseptr, "mmuext_op NEW_BASEPTR: the current table again; to and fro between two", "") {
    auto* other = alloc_page_as<uint64_t>();
    for (unsigned slot = 0; slot < 512; ++slot)
        if (slot < 256 || slot >= 272) other[slot] = boot_l4()[slot];
    CHECK_EQ(pin(other, 4), 0);
    static mmuext_op_t ops[2];
    ops[0].cmd = ops[1].cmd = MMUEXT_NEW_BASEPTR;
    ops[0].arg1.mfn = mfn_of(other);
    ops[1].arg1.mfn = mfn_of(boot_l4());
    report("new_baseptr", call(__HYPERVISOR_mmuext_op, addr(&ops[1]), 1, 0, DOMID_SELF));
    static unsigned turn;
    turn = 0;
    report("new_baseptr_switch", net([] {
               return time_hypercall(__HYPERVISOR_mmuext_op, addr(&ops[turn++ & 1]), 1, 0,
                                     DOMID_SELF);
           }));
    CHECK_EQ(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(boot_l4())), 0);
}

TEST(segments, "set_segment_base, stack_switch", "") {
    report("set_segment_base", call(__HYPERVISOR_set_segment_base, SEGBASE_FS, 0));
    report("stack_switch", call(__HYPERVISOR_stack_switch, FLAT_KERNEL_SS, kernel_stack_top()));
}

TEST(evtchn_send, "EVTCHNOP_send to oneself, the upcall masked", "") {
    const Port a = alloc_unbound();
    const Port b = bind_interdomain(a);
    static evtchn_send_t send;
    send.port = a;
    report("evtchn_send", net([=] {
               clear_pending(b);
               return time_hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_send, addr(&send), 0,
                                     0);
           }));
    CHECK_EQ(last_result, 0);
    CHECK(pending(b));
    clear_all_pending();
}

TEST(sched_yield, "SCHEDOP_yield with nothing else to run", "") {
    report("sched_yield", call(__HYPERVISOR_sched_op, SCHEDOP_yield));
}

TEST(grants, "grant map and unmap of an own grant; copies of 64 bytes", "") {
    static Window window;
    window = open_window();
    const void* page = alloc_page();
    allow(own_grants()[8], mfn_of(page), 0);

    static gnttab_map_grant_ref_t map;
    static gnttab_unmap_grant_ref_t unmap;
    report("grant_map_unmap", net([] {
               map = {.host_addr = window.va(1), .flags = GNTMAP_host_map, .ref = 8, .dom = 0};
               const uint32_t mapped = time_hypercall(__HYPERVISOR_grant_table_op,
                                                      GNTTABOP_map_grant_ref, addr(&map), 1, 0);
               if (map.status) fail("map: %d", map.status);
               unmap = {.host_addr = window.va(1), .handle = map.handle};
               const uint32_t unmapped = time_hypercall(
                   __HYPERVISOR_grant_table_op, GNTTABOP_unmap_grant_ref, addr(&unmap), 1, 0);
               if (unmap.status) fail("unmap: %d", unmap.status);
               return mapped + unmapped - empty_pair();
           }));

    static gnttab_copy_t copies[1 + kFurther];
    const uint64_t target = mfn_of(alloc_page());
    for (auto& copy : copies) {
        copy.source.u.ref = 8;
        copy.source.domid = DOMID_SELF;
        copy.dest.u.gmfn = target;
        copy.dest.domid = DOMID_SELF;
        copy.len = 64;
        copy.flags = GNTCOPY_source_gref;
    }
    const Cost one = call(__HYPERVISOR_grant_table_op, GNTTABOP_copy, addr(copies), 1);
    const Cost many = call(__HYPERVISOR_grant_table_op, GNTTABOP_copy, addr(copies), 1 + kFurther);
    for (const auto& copy : copies) CHECK_EQ(copy.status, GNTST_okay);
    report("grant_copy_one", one);
    report("grant_copy_further", many, one.minimum, kFurther);
}

TEST(emulation, "mov from cr0 in the guest's kernel, carried out by the hypervisor", "") {
    report("emulated_read_cr0", net(time_read_cr0));
}

TEST(boot, "TSC of the first instruction; pages that are not the hypervisor's", "") {
    xen_sysctl_t op = {};
    op.cmd = XEN_SYSCTL_physinfo;
    op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    CHECK_EQ(sysctl(&op), 0);
    print("BOOT tsc %lu\n", boot_state.tsc);
    print("BOOT guest_pages %lu\n", op.u.physinfo.free_pages + start_info->nr_pages);
}

}  // namespace guest
