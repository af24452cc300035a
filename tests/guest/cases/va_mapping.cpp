// update_va_mapping, and that translations are gone when a call says so.
#include <initializer_list>

#include "memory.hpp"
#include "platform.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {
struct Swap {
    Window window = open_window();
    uint64_t* pages[2] = {alloc_page_as<uint64_t>(), alloc_page_as<uint64_t>()};

    Swap() {
        *pages[0] = 0xa;
        *pages[1] = 0xb;
        CHECK_EQ(window.map(0, entry(0)), 0);
    }
    uint64_t entry(unsigned which) const { return pte(mfn_of(pages[which]), kDataFlags); }
    uint64_t seen() const { return *window.at(0); }
};
}  // namespace

TEST(va_mapping_flushes, "update_va_mapping: UVMF_INVLPG and UVMF_TLB_FLUSH, local and all", "") {
    const Swap swap;
    unsigned which = 0;
    for (const Arg flush :
         {UVMF_INVLPG, UVMF_TLB_FLUSH, UVMF_INVLPG | UVMF_ALL, UVMF_TLB_FLUSH | UVMF_ALL}) {
        CHECK_EQ(swap.seen(), *swap.pages[which]);
        which ^= 1;
        CHECK_EQ(update_va_mapping(swap.window.va(0), swap.entry(which), flush), 0);
        CHECK_EQ(swap.seen(), *swap.pages[which]);
    }
}

TEST(va_mapping_vcpu_mask, "update_va_mapping: a flush for a bitmap of vCPUs", "") {
    const Swap swap;
    static uint64_t mask = 1;
    CHECK_EQ(swap.seen(), 0xa);
    CHECK_EQ(update_va_mapping(swap.window.va(0), swap.entry(1), UVMF_INVLPG | addr(&mask)), 0);
    CHECK_EQ(swap.seen(), 0xb);
    CHECK_EQ(update_va_mapping(swap.window.va(0), swap.entry(0), UVMF_TLB_FLUSH | addr(&mask)), 0);
    CHECK_EQ(swap.seen(), 0xa);
    // The mapping is changed before the flush is looked at.
    CHECK_EQ(update_va_mapping(swap.window.va(0), swap.entry(1), UVMF_INVLPG | 0x1000), -kEFAULT);
}

TEST(va_mapping_unmap, "update_va_mapping: a present entry goes, the next access faults", "") {
    const Swap swap;
    CHECK_EQ(swap.seen(), 0xa);
    CHECK_EQ(update_va_mapping(swap.window.va(0), 0, UVMF_INVLPG), 0);
    const Trap trap = catch_trap([&] { (void)swap.seen(); });
    CHECK(trap.is(kPageFault, 0));
    CHECK_EQ(trap.cr2, swap.window.va(0));
}

TEST(va_mapping_refuses, "update_va_mapping: hypervisor's range, no table, non-canonical, a table",
     "") {
    const Swap swap;
    CHECK_EQ(update_va_mapping(HYPERVISOR_VIRT_START, swap.entry(0), UVMF_INVLPG), -kEINVAL);
    CHECK_EQ(update_va_mapping(HYPERVISOR_VIRT_END - kPageSize, swap.entry(0), UVMF_INVLPG),
             -kEINVAL);
    CHECK_EQ(update_va_mapping(swap.window.base + (9ul << 21), swap.entry(0), UVMF_INVLPG),
             -kEINVAL);
    CHECK_EQ(update_va_mapping(1ul << 60, swap.entry(0), UVMF_INVLPG), -kEINVAL);
    CHECK_EQ(update_va_mapping(swap.window.va(1), pte(mfn_of(swap.window.l1), kDataFlags)),
             -kEBUSY);
    CHECK_EQ(swap.window.l1[1], 0);
}

TEST(va_mapping_other_domain,
     "update_va_mapping_otherdomain: a domain that is not there, ourselves", "") {
    const Swap swap;
    CHECK_EQ(hypercall(__HYPERVISOR_update_va_mapping_otherdomain, swap.window.va(0), swap.entry(1),
                       UVMF_INVLPG, 1234),
             -kESRCH);
    CHECK_EQ(swap.seen(), 0xa);
    CHECK_EQ(hypercall(__HYPERVISOR_update_va_mapping_otherdomain, swap.window.va(0), swap.entry(1),
                       UVMF_INVLPG, DOMID_SELF),
             0);
    CHECK_EQ(swap.seen(), 0xb);
}

TEST(tlb_flush_operations, "mmuext_op: the eight flushes make a changed entry visible", "") {
    const Swap swap;
    static uint64_t mask = 1;
    struct {
        unsigned cmd;
        bool address, vcpus;
    } const flushes[] = {
        {MMUEXT_TLB_FLUSH_LOCAL, false, false}, {MMUEXT_INVLPG_LOCAL, true, false},
        {MMUEXT_TLB_FLUSH_MULTI, false, true},  {MMUEXT_INVLPG_MULTI, true, true},
        {MMUEXT_TLB_FLUSH_ALL, false, false},   {MMUEXT_INVLPG_ALL, true, false},
    };
    unsigned which = 0;
    for (const auto& flush : flushes) {
        CHECK_EQ(swap.seen(), *swap.pages[which]);
        which ^= 1;
        CHECK_EQ(swap.window.map(0, swap.entry(which)), 0);
        mmuext_op_t op = {};
        op.cmd = flush.cmd;
        if (flush.address) op.arg1.linear_addr = swap.window.va(0);
        if (flush.vcpus) set_xen_guest_handle(op.arg2.vcpumask, &mask);
        CHECK_EQ(mmuext_op(&op, 1), 0);
        CHECK_EQ(swap.seen(), *swap.pages[which]);
    }
}

TEST(tlb_permission_lost, "flush before reuse: a write after write permission went faults", "") {
    const Swap swap;
    *swap.window.at(0) = 1;
    CHECK_EQ(update_va_mapping(swap.window.va(0), pte(mfn_of(swap.pages[0]), kReadOnlyFlags),
                               UVMF_INVLPG),
             0);
    const Trap trap = catch_trap([&] { *swap.window.at(0) = 2; });
    CHECK(trap.is(kPageFault, kPfPresent | kPfWrite));
    CHECK_EQ(*swap.pages[0], 1);
}

TEST(tlb_type_change_flushes,
     "flush before reuse: a page made table is not writable by old entries", "") {
    // No flush is asked for: the hypervisor itself must see to it when the type changes.
    const Swap swap;
    *swap.window.at(0) = 0;
    CHECK_EQ(swap.window.map(0, 0), 0);
    CHECK_EQ(update_va_mapping(addr(swap.pages[0]), pte(mfn_of(swap.pages[0]), kReadOnlyFlags), 0),
             0);
    CHECK_EQ(mmuext(MMUEXT_PIN_L1_TABLE, mfn_of(swap.pages[0])), 0);
    CHECK(catch_trap([&] { *swap.window.at(0) = 0x12345; }).is(kPageFault));
    CHECK_EQ(*swap.pages[0], 0);
    CHECK_EQ(unpin(swap.pages[0]), 0);
}

namespace {

const Swap* watched;  ///< read by the second vCPU all the time
volatile uint64_t watch_sees;
volatile unsigned watch_turns;
volatile bool watch_ends;

void watch() {
    while (!watch_ends) {
        watch_sees = watched->seen();
        watch_turns = watch_turns + 1;
    }
    watch_turns = 0;
}

/// What the second vCPU reads from now on: not what it was just reading.
uint64_t other_sees() {
    static unsigned from;
    from = watch_turns;
    CHECK(wait_for([] { return watch_turns - from >= 2; }));
    return watch_sees;
}

/// Maps the page in turn, and has that translation flushed everywhere.
void remap(const Swap& swap, unsigned turn) {
    CHECK_EQ(swap.window.map(0, swap.entry(turn % 2)), 0);
    CHECK_EQ(mmuext(MMUEXT_TLB_FLUSH_ALL, 0), 0);
}

volatile bool storm_over;

}  // namespace

TEST(tlb_flush_other_cpu, "mmuext_op, update_va_mapping: translations of another CPU go as well",
     "cpus=2;vcpus=2;args=dom0_vcpus_pin") {
    const Swap swap;
    watched = &swap;
    watch_ends = false;
    static uint64_t second = 2;
    start_second_vcpu(watch);
    for (unsigned turn = 1; turn < 40; ++turn) {
        const uint64_t wanted = *swap.pages[turn % 2];
        const Arg va = swap.window.va(0);
        mmuext_op_t op = {};
        op.cmd = turn % 4 == 0 ? MMUEXT_INVLPG_MULTI : MMUEXT_TLB_FLUSH_MULTI;
        if (turn % 4 == 0) op.arg1.linear_addr = va;
        set_xen_guest_handle(op.arg2.vcpumask, &second);
        switch (turn % 4) {
            case 1:
                remap(swap, turn);
                break;
            case 2:
                CHECK_EQ(update_va_mapping(va, swap.entry(turn % 2), UVMF_TLB_FLUSH | UVMF_ALL), 0);
                break;
            default:
                CHECK_EQ(swap.window.map(0, swap.entry(turn % 2)), 0);
                CHECK_EQ(mmuext_op(&op, 1), 0);
        }
        CHECK_EQ(other_sees(), wanted);
    }
    watch_ends = true;
    CHECK(wait_for([] { return watch_turns == 0; }));
}

TEST(tlb_flush_both_cpus, "mmuext_op: two CPUs ask each other at the same time, and wait",
     "cpus=2;vcpus=2;args=dom0_vcpus_pin") {
    const Swap swap;
    static const Swap* others;
    const Swap of_other;
    others = &of_other;
    storm_over = false;
    // On a busy machine, where one vCPU's thread waits for the other's to run, fewer turns must do.
    static uint64_t end;
    end = system_time() + 5'000'000'000;
    start_second_vcpu([] {
        for (unsigned turn = 0; turn < 2000 && system_time() < end; ++turn) {
            remap(*others, turn);
            CHECK_EQ(others->seen(), *others->pages[turn % 2]);
        }
        storm_over = true;
    });
    for (unsigned turn = 0; !storm_over; ++turn) {
        remap(swap, turn);
        CHECK_EQ(swap.seen(), *swap.pages[turn % 2]);
    }
}

}  // namespace guest
