// Public advisories on Xen's page-table handling (XSA), each as the attack it describes.
#include <initializer_list>

#include "child.hpp"
#include "events.hpp"
#include "grants.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {

constexpr uint64_t kWriteThrough = 8, kCacheDisable = 0x10;

/// An L2 over `kTables` full L1 tables: checking it takes long enough to be interrupted.
struct LongTable {
    static constexpr unsigned kTables = 96;
    uint64_t* l2 = alloc_page_as<uint64_t>();
    uint64_t mfn = mfn_of(l2);

    LongTable() {
        const uint64_t data = pte(mfn_of(alloc_page()), kDataFlags);
        for (unsigned i = 0; i < kTables; ++i) {
            auto* l1 = alloc_page_as<uint64_t>();
            for (unsigned j = 0; j < 512; ++j) l1[j] = data;
            make_read_only(l1);
            l2[i] = pte(mfn_of(l1), kTableFlags);
        }
    }
    void unmap() const { remap(l2, 0); }
    /// One more table at the end, which is none: all before it is checked, and undone.
    void spoil() { l2[kTables] = pte(mfn, kTableFlags | kLarge); }
    void* l1(unsigned i) const { return va_of_pfn(m2p(mfn_of_pte(l2[i]))); }
    /// Another frame in the place of the one that was given away.
    void replace() const {
        xen_pfn_t list[1] = {pfn_of(l2)};
        xen_memory_reservation_t r = {.nr_extents = 1, .domid = DOMID_SELF};
        set_xen_guest_handle(r.extent_start, list);
        CHECK_EQ(memory_op(XENMEM_populate_physmap, &r), 1);
        p2m()[pfn_of(l2)] = list[0];
        remap(l2, pte(list[0], kDataFlags));
    }
};

LongTable* attacked;
bool gave_away;

/// An upcall in the middle of the pin: the table, checked in part, is given back to the hypervisor.
bool give_away(TrapFrame& frame) {
    count_upcall(frame);
    constexpr uint64_t kContinued = 1ul << 31;  // of mmuext_op's count
    if (frame.rax != __HYPERVISOR_mmuext_op || !(frame.rsi & kContinued) || gave_away) return true;
    xen_pfn_t list[1] = {attacked->mfn};
    xen_memory_reservation_t r = {.nr_extents = 1, .domid = DOMID_SELF};
    set_xen_guest_handle(r.extent_start, list);
    gave_away = memory_op(XENMEM_decrease_reservation, &r) == 1;
    return true;
}

/// Pins the table with a timer event `delay` ns ahead; whether it came in the middle.
bool pin_and_interrupt(uint64_t delay) {
    vcpu_set_singleshot_timer_t timer = {.timeout_abs_ns = system_time() + delay};
    CHECK_EQ(vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer), 0);
    const long pinned = mmuext(MMUEXT_PIN_L2_TABLE, attacked->mfn);
    if (pinned == 0) CHECK_EQ(mmuext(MMUEXT_UNPIN_TABLE, attacked->mfn), 0);
    return gave_away;
}

}  // namespace

TEST(xsa_299_half_checked_table, "XSA-299: a table whose pin was interrupted is given away", "") {
    LongTable table;
    attacked = &table;
    gave_away = false;
    table.unmap();
    const uint64_t start = system_time();
    CHECK_EQ(mmuext(MMUEXT_PIN_L2_TABLE, table.mfn), 0);
    const uint64_t takes = system_time() - start;
    CHECK_EQ(mmuext(MMUEXT_UNPIN_TABLE, table.mfn), 0);
    const Port port = bind_virq(VIRQ_TIMER);
    set_handler(kEvent, give_away);
    enable_upcalls();
    unsigned tries = 0;
    while (tries < 60 && !pin_and_interrupt(takes * (tries % 12 + 1) / 16)) ++tries;
    disable_upcalls();
    set_handler(kEvent, nullptr);
    CHECK_EQ(close_port(port), 0);
    clear_all_pending();
    note("%s after %u tries", gave_away ? "given away" : "never interrupted", tries);
    if (!gave_away) return;
    // The pin held it to the end, and the unpin freed it.
    CHECK(mmuext(MMUEXT_PIN_L2_TABLE, table.mfn) < 0);
    table.replace();
}

TEST(xsa_45_refused_late, "XSA-45, 290: a table refused at its end, interrupted while it is undone",
     "") {
    LongTable table;
    table.spoil();
    make_read_only(table.l2);
    const uint64_t start = system_time();
    CHECK(mmuext(MMUEXT_PIN_L2_TABLE, table.mfn) < 0);
    const uint64_t takes = system_time() - start;
    const Port port = bind_virq(VIRQ_TIMER);
    set_handler(kEvent, count_upcall);
    enable_upcalls();
    for (unsigned i = 1; i < 24; ++i) {
        vcpu_set_singleshot_timer_t timer = {.timeout_abs_ns = system_time() + takes * i / 20};
        CHECK_EQ(vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer), 0);
        CHECK_EQ(mmuext(MMUEXT_PIN_L2_TABLE, table.mfn), -kEINVAL);
    }
    disable_upcalls();
    set_handler(kEvent, nullptr);
    CHECK_EQ(close_port(port), 0);
    clear_all_pending();
    // Nothing of it is a table any more.
    for (unsigned i = 0; i < LongTable::kTables; ++i) make_writable(table.l1(i));
    make_writable(table.l2);
}

TEST(xsa_113_machphys_reference, "XSA-113: MMU_MACHPHYS_UPDATE keeps no reference on the frame",
     "") {
    const uint64_t before = settled_free_pages();
    Child child;
    auto* update = child.scratch_as<mmu_update_t>();
    *update = {child.mfn(9) << 12 | MMU_MACHPHYS_UPDATE, 9};
    for (unsigned i = 0; i < 4; ++i)
        CHECK_EQ(child.call(__HYPERVISOR_mmu_update, Child::scratch(0), 1, 0, DOMID_SELF), 0);
    child.destroy();
    expect_free_pages(before);
}

TEST(xsa_148_182_flags_only, "XSA-148, 182: an entry that keeps its frame gains the large-page bit",
     "") {
    const Window window = open_window();
    for (uint64_t* entry : {&window.l2[0], &window.l3[0], &boot_l4()[window.base >> 39]}) {
        const uint64_t before = *entry;
        CHECK(write_entry(entry, before | kLarge) < 0);
        CHECK(write_entry(entry, (before & ~static_cast<uint64_t>(kWrite)) | kLarge) < 0);
        CHECK_EQ(*entry, before);
    }
}

TEST(xsa_402_uncached_leaf, "XSA-60, 402: RAM mapped past the caches by a domain without devices",
     "") {
    Child child;
    const Arg target = Child::va(50);
    const uint64_t good = pte(child.mfn(9), kDataFlags);
    for (const uint64_t caching : {kCacheDisable, kWriteThrough, uint64_t{kLarge} /* PAT */})
        CHECK_EQ(child.call(__HYPERVISOR_update_va_mapping, target, good | caching, UVMF_INVLPG),
                 -kEINVAL);
    // Nor when only these bits change.
    CHECK_EQ(child.call(__HYPERVISOR_update_va_mapping, target, good, UVMF_INVLPG), 0);
    CHECK_EQ(child.call(__HYPERVISOR_update_va_mapping, target, good | kCacheDisable, UVMF_INVLPG),
             -kEINVAL);
    child.destroy();
}

TEST(uncached_table, "a table that the processor would read past its caches, even of Domain 0",
     "") {
    const Window window = open_window();
    for (const uint64_t caching : {kCacheDisable, kWriteThrough}) {
        CHECK_EQ(write_entry(&window.l2[0], window.l2[0] | caching), -kEINVAL);
        CHECK_EQ(write_entry(&window.l3[0], window.l3[0] | caching), -kEINVAL);
    }
}

TEST(shared_frame_as_table, "frames that the hypervisor writes to do not become page tables", "") {
    // A grant frame that nothing maps: all zeros, so that its contents alone would pass.
    xen_pfn_t frames[1] = {own_grant_frame()};  // what set_gdt takes
    const Window window = open_window();
    for (int level = 1; level <= 4; ++level)
        CHECK(mmuext(MMUEXT_PIN_L1_TABLE + level - 1, frames[0]) < 0);
    CHECK(write_entry(&window.l2[1], pte(frames[0], kTableFlags)) < 0);
    CHECK(hypercall(__HYPERVISOR_set_gdt, addr(frames), 512) < 0);
    CHECK_EQ(window.map(0, pte(frames[0], kDataFlags)), 0);
    CHECK_EQ(window.map(0, 0), 0);
}

TEST(shared_info_as_table, "the shared info page of a domain that has unmapped it, likewise", "") {
    Child child;
    const uint64_t mfn = child.info().shared_info_frame;
    child.forget();
    // Through Domain 0: the mailbox is gone with the mappings.
    mmu_update_t update = {child.mfn(3) << 12 | Child::kSharedInfoPage * 8, 0};
    CHECK_EQ(mmu_update(&update, 1, nullptr, child.id() | (child.id() + 1u) << 16), 0);
    mmuext_op_t op = {};
    op.cmd = MMUEXT_PIN_L1_TABLE;
    op.arg1.mfn = mfn;
    CHECK(mmuext_op(&op, 1, nullptr, child.id()) < 0);
    child.destroy();
}

TEST(xsa_109_242_refused_update, "XSA-242: an update that is refused leaves no type reference",
     "") {
    const Window window = open_window();
    auto* l1 = alloc_page_as<uint64_t>();
    make_read_only(l1);
    // Not present in L3: the L2 of an L1 cannot be had, and the L1 stays free.
    CHECK(write_entry(&window.l3[1], pte(mfn_of(l1), kTableFlags | kLarge)) < 0);
    CHECK(write_entry(&window.l2[1], pte(mfn_of(l1), kTableFlags | kGlobal)) < 0);
    make_writable(l1);
    l1[0] = 1;
}

TEST(xsa_286_invlpg, "XSA-286: an address of the hypervisor's or of none is flushed in no harm",
     "") {
    for (const uint64_t address : {HYPERVISOR_VIRT_START, 1ul << 63, ~0ul})
        CHECK_EQ(mmuext(MMUEXT_INVLPG_LOCAL, address), 0);
}

}  // namespace guest
