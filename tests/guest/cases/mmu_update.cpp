// mmu_update: page-table entries one by one and in batches, and what is refused.
#include <initializer_list>

#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

TEST(mmu_update_maps, "mmu_update MMU_NORMAL_PT_UPDATE: an L1 entry appears and goes", "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    *page = 0x1234;
    CHECK_EQ(window.map(3, pte(mfn_of(page), kDataFlags)), 0);
    CHECK_EQ(*window.at(3), 0x1234);
    *window.at(3) = 0x5678;
    CHECK_EQ(*page, 0x5678);
    CHECK_EQ(window.map(3, 0), 0);
    CHECK_EQ(mmuext(MMUEXT_INVLPG_LOCAL, window.va(3)), 0);
    CHECK(catch_trap([&] { *window.at(3); }).is(kPageFault));
}

TEST(mmu_update_kernel_user_bit, "mmu_update: a kernel entry without U gains it (ring 3 kernel)",
     "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    CHECK_EQ(window.map(0, pte(mfn_of(page), kPresent | kWrite)), 0);
    CHECK(window.l1[0] & kUser);
    *window.at(0) = 7;
    CHECK_EQ(*page, 7);
}

TEST(mmu_update_upper_levels, "mmu_update: L2, L3 and L4 entries set and cleared", "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    auto* l1 = alloc_page_as<uint64_t>();
    l1[1] = pte(mfn_of(page), kDataFlags);
    make_read_only(l1);
    *page = 42;
    CHECK_EQ(write_entry(&window.l2[5], pte(mfn_of(l1), kTableFlags)), 0);
    CHECK_EQ(*reinterpret_cast<volatile uint64_t*>(window.base + (5ul << 21) + kPageSize), 42);
    CHECK_EQ(write_entry(&window.l2[5], 0), 0);
    CHECK_EQ(write_entry(&window.l3[7], pte(mfn_of(window.l2), kTableFlags)), 0);
    CHECK_EQ(write_entry(&window.l3[7], 0), 0);
    const uint64_t slot = window.base >> 39;
    CHECK_EQ(write_entry(&boot_l4()[slot], 0), 0);
    // The references fell with the entries: the table is plain memory again.
    make_writable(l1);
    make_writable(window.l3);
}

TEST(mmu_update_machphys, "mmu_update MMU_MACHPHYS_UPDATE: own frames only", "") {
    auto* page = alloc_page_as<uint64_t>();
    const uint64_t mfn = mfn_of(page);
    mmu_update_t update = {mfn << 12 | MMU_MACHPHYS_UPDATE, 0x4321};
    CHECK_EQ(mmu_update(&update, 1), 0);
    CHECK_EQ(m2p(mfn), 0x4321);
    update.val = pfn_of(page);
    CHECK_EQ(mmu_update(&update, 1), 0);
    CHECK_EQ(m2p(mfn), pfn_of(page));
    update.ptr = 0xfffffffffful << 12 | MMU_MACHPHYS_UPDATE;
    CHECK_EQ(mmu_update(&update, 1), -kEINVAL);
}

TEST(mmu_update_preserve_ad, "mmu_update MMU_PT_UPDATE_PRESERVE_AD: A and D survive", "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    CHECK_EQ(window.map(0, pte(mfn_of(page), kPresent | kWrite | kUser)), 0);
    CHECK_EQ(window.l1[0] & (kAccessed | kDirty), 0);
    *window.at(0) = 1;
    CHECK_EQ(window.l1[0] & (kAccessed | kDirty), kAccessed | kDirty);
    const uint64_t fresh = pte(mfn_of(page), kPresent | kUser);
    CHECK_EQ(write_entry(&window.l1[0], fresh, MMU_PT_UPDATE_PRESERVE_AD), 0);
    CHECK_EQ(window.l1[0] & (kAccessed | kDirty | kWrite), kAccessed | kDirty);
    CHECK_EQ(write_entry(&window.l1[0], fresh), 0);
    CHECK_EQ(window.l1[0] & (kAccessed | kDirty), 0);
}

TEST(mmu_update_batch_stops, "mmu_update: a batch stops at the bad entry and says how many it did",
     "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    const uint64_t good = pte(mfn_of(page), kDataFlags);
    mmu_update_t batch[4];
    for (unsigned i = 0; i < 4; ++i) batch[i] = {machine_address(&window.l1[i]), good};
    batch[2].val = pte(mfn_of(window.l1), kDataFlags);  // a page table, writable
    unsigned done = 99;
    CHECK(mmu_update(batch, 4, &done) < 0);
    CHECK_EQ(done, 2);
    CHECK(window.l1[0] & kPresent);
    CHECK(window.l1[1] & kPresent);
    CHECK_EQ(window.l1[2], 0);
    CHECK_EQ(window.l1[3], 0);
    CHECK_EQ(mmu_update(batch, 0, &done), 0);
    CHECK_EQ(done, 0);
}

TEST(mmu_update_long_batch, "mmu_update: 512 entries of one table, set and cleared again", "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    auto* batch = static_cast<mmu_update_t*>(alloc_pages(4));
    for (unsigned i = 0; i < 1024; ++i)
        batch[i] = {machine_address(&window.l1[i % 512]),
                    i < 512 ? pte(mfn_of(page), kDataFlags) : 0};
    unsigned done = 0;
    CHECK_EQ(mmu_update(batch, 512, &done), 0);
    CHECK_EQ(done, 512);
    *page = 99;
    for (unsigned i = 0; i < 512; ++i) CHECK_EQ(*window.at(i), 99);
    CHECK_EQ(mmu_update(batch, 1024, &done), 0);
    CHECK_EQ(done, 1024);
    for (unsigned i = 0; i < 512; ++i) CHECK_EQ(window.l1[i], 0);
}

TEST(mmu_update_refuses_writable_table, "type check: no writable mapping of a page table", "") {
    const Window window = open_window();
    for (const uint64_t* table : {window.l1, window.l2, window.l3, boot_l4()}) {
        CHECK_EQ(window.map(0, pte(mfn_of(table), kDataFlags)), -kEBUSY);
        CHECK_EQ(window.l1[0], 0);
        CHECK_EQ(window.map(1, pte(mfn_of(table), kReadOnlyFlags)), 0);
    }
}

TEST(mmu_update_refuses_table_of_writable, "type check: no table while a writable mapping lasts",
     "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    CHECK_EQ(write_entry(&window.l2[1], pte(mfn_of(page), kTableFlags)), -kEINVAL);
    make_read_only(page);
    CHECK_EQ(write_entry(&window.l2[1], pte(mfn_of(page), kTableFlags)), 0);
    CHECK_EQ(update_va_mapping(addr(page), pte(mfn_of(page), kDataFlags), UVMF_INVLPG), -kEBUSY);
    CHECK_EQ(write_entry(&window.l2[1], 0), 0);
    make_writable(page);
}

TEST(mmu_update_refuses_wrong_level, "type check: a table of one level is none of another", "") {
    const Window window = open_window();
    // An L1 as L2, an L2 as L3: each is in use at its own level.
    CHECK_EQ(write_entry(&window.l3[1], pte(mfn_of(window.l1), kTableFlags)), -kEINVAL);
    CHECK_EQ(write_entry(&boot_l4()[7], pte(mfn_of(window.l2), kTableFlags)), -kEINVAL);
    CHECK_EQ(write_entry(&window.l2[1], pte(mfn_of(window.l3), kTableFlags)), -kEINVAL);
    CHECK_EQ(window.l3[1] | window.l2[1] | boot_l4()[7], 0);
}

TEST(mmu_update_refuses_bad_contents, "validation: a page of nonsense does not become a table",
     "") {
    const Window window = open_window();
    auto* table = alloc_page_as<uint64_t>();
    auto* data = alloc_page_as<uint64_t>();
    table[0] = pte(mfn_of(data), kDataFlags);
    table[17] = pte(mfn_of(window.l1), kDataFlags);  // a writable table inside
    make_read_only(table);
    CHECK_EQ(write_entry(&window.l2[1], pte(mfn_of(table), kTableFlags)), -kEBUSY);
    CHECK_EQ(window.l2[1], 0);
    // And what was counted on the way is given back: the frame in front of the bad entry has no
    // writable mapping left but ours, and the page becomes writable.
    make_read_only(data);
    CHECK_EQ(write_entry(&window.l2[2], pte(mfn_of(data), kTableFlags)), 0);
    CHECK_EQ(write_entry(&window.l2[2], 0), 0);
    make_writable(data);
    make_writable(table);
    table[17] = 0;
    make_read_only(table);
    CHECK_EQ(write_entry(&window.l2[1], pte(mfn_of(table), kTableFlags)), 0);
}

TEST(mmu_update_refuses_bad_frame, "validation: frames that are not there or not ours", "") {
    const Window window = open_window();
    const uint64_t beyond =
        static_cast<uint64_t>(memory_op(XENMEM_maximum_ram_page, nullptr)) + 4096;
    CHECK(window.map(0, pte(0xffffffffful, kDataFlags)) < 0);
    CHECK(write_entry(&window.l2[1], pte(beyond, kTableFlags)) < 0);
    CHECK(write_entry(&window.l2[1], pte(0xffffffffful, kTableFlags)) < 0);
    CHECK_EQ(window.l1[0] | window.l2[1], 0);
}

TEST(mmu_update_refuses_large_pages, "validation: large pages in L2 and L3", "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    CHECK_EQ(write_entry(&window.l2[1], pte(mfn_of(page) & ~511ul, kTableFlags | kLarge)),
             -kEINVAL);
    CHECK_EQ(write_entry(&window.l3[1], pte(mfn_of(window.l2), kTableFlags | kLarge)), -kEINVAL);
}

TEST(mmu_update_refuses_hypervisor_slots, "validation: the L4 slots of the hypervisor", "") {
    const Window window = open_window();
    const uint64_t entry = pte(mfn_of(window.l3), kTableFlags);
    CHECK(write_entry(&boot_l4()[256], entry) < 0);
    CHECK(write_entry(&boot_l4()[271], entry) < 0);
    CHECK_EQ(write_entry(&boot_l4()[272], entry), 0);
    CHECK_EQ(write_entry(&boot_l4()[272], 0), 0);
}

TEST(mmu_update_linear_table, "validation: no table maps itself, not even read-only",
     "differs=Xen allows it read-only, which Linux never uses and which was attacked (XSA-240)") {
    uint64_t* l4 = boot_l4();
    CHECK(write_entry(&l4[5], pte(mfn_of(l4), kTableFlags)) < 0);
    CHECK(write_entry(&l4[5], pte(mfn_of(l4), kReadOnlyFlags)) < 0);
    CHECK_EQ(l4[5], 0);
}

TEST(mmu_update_plain_page, "mmu_update on a page that is no table: an ordinary checked write",
     "") {
    auto* page = alloc_page_as<uint64_t>();
    CHECK_EQ(write_entry(&page[9], 0xdeadbeef), 0);
    CHECK_EQ(page[9], 0xdeadbeef);
}

TEST(mmu_update_bad_request, "mmu_update: unknown command bits, bad table frame, bad domain", "") {
    const Window window = open_window();
    mmu_update_t update = {machine_address(&window.l1[0]) | 5, 0};
    CHECK_EQ(mmu_update(&update, 1), -kENOSYS);
    update.ptr = 0xffffffffful << 12;
    CHECK_EQ(mmu_update(&update, 1), -kEINVAL);
    update.ptr = machine_address(&window.l1[0]);
    CHECK_EQ(mmu_update(&update, 1, nullptr, 1234), -kESRCH);
    CHECK_EQ(hypercall(__HYPERVISOR_mmu_update, 0x1000, 1, 0, DOMID_SELF), -kEFAULT);
}

namespace {

constexpr unsigned kRaces = 20000;
uint64_t raced[2];  // the frames that both vCPUs put into the same entries
Window race_window;
volatile unsigned refused;
volatile bool raced_through;

void race_by_list() {
    for (unsigned i = 0; i < kRaces; ++i) {
        const uint64_t first = machine_address(&race_window.l1[0]);
        mmu_update_t list[] = {{first, pte(raced[i & 1], kDataFlags)},
                               {first + 8, pte(raced[0], kReadOnlyFlags)},
                               {first, 0},
                               {first + 8, pte(raced[1], kDataFlags)}};
        if (mmu_update(list, 4)) refused = refused + 1;
    }
}

void race_by_address() {
    for (unsigned i = 0; i < kRaces; ++i)
        for (unsigned entry = 0; entry < 2; ++entry) {
            const uint64_t value = i % 3 ? pte(raced[i & 1], kDataFlags) : 0;
            if (update_va_mapping(race_window.va(entry), value)) refused = refused + 1;
        }
}

}  // namespace

TEST(mmu_update_two_vcpus, "mmu_update and update_va_mapping: two vCPUs change the same entries",
     "cpus=2;vcpus=2") {
    race_window = open_window();
    void* pages[2] = {alloc_page(), alloc_page()};
    for (unsigned i = 0; i < 2; ++i) raced[i] = mfn_of(pages[i]);
    refused = 0;
    raced_through = false;
    start_second_vcpu([] {
        race_by_address();
        raced_through = true;
    });
    race_by_list();
    CHECK(wait_for([] { return raced_through; }, 20'000'000'000));
    CHECK_EQ(refused, 0);
    for (unsigned entry = 0; entry < 2; ++entry) CHECK_EQ(race_window.map(entry, 0), 0);
    // No reference too many was left, or they could not become tables; none too few was, or they
    // would be free by now and not ours.
    for (void* page : pages) {
        CHECK_EQ(pin(page, 1), 0);
        CHECK_EQ(unpin(page), 0);
    }
}

namespace {

uint64_t* contested;  // a frame that is a page table or none, as the other vCPU will have it

/// Stock refuses to make a table of a frame that is being written to.
void make_table_and_undo() {
    constexpr unsigned kEnough = 500;
    for (unsigned made = 0; made < kEnough;) {
        if (pin(contested, 1)) continue;
        ++made;
        if (unpin(contested)) refused = refused + 1;
    }
}

}  // namespace

TEST(mmu_update_while_pinned,
     "mmu_update of an entry while the other vCPU makes its frame a table and undoes it",
     "cpus=2;vcpus=2") {
    contested = alloc_page_as<uint64_t>();
    make_read_only(contested);
    void* page = alloc_page();
    refused = 0;
    raced_through = false;
    start_second_vcpu([] {
        make_table_and_undo();
        raced_through = true;
    });
    // Long lists, in the middle of which the frame would like to change. (Stock refuses what it is
    // asked for while it checks the frame.)
    constexpr unsigned kEntries = 64;
    static mmu_update_t list[2 * kEntries];
    for (unsigned i = 0; i < kEntries; ++i) {
        list[i] = {machine_address(&contested[i]), pte(mfn_of(page), kDataFlags)};
        list[kEntries + i] = {list[i].ptr, 0};
    }
    while (!raced_through) mmu_update(list, 2 * kEntries);
    CHECK_EQ(refused, 0);
    // As above. An entry that was written while nobody counted it, or the other way round, would
    // have left a reference, or taken one too many.
    CHECK_EQ(pin(page, 1), 0);
    CHECK_EQ(unpin(page), 0);
}

namespace {

Window others_window;
volatile unsigned others_updates;

/// How many updates of an L2 entry the other vCPU gets done during one long list.
unsigned updates_during(const mmu_update_t* list, unsigned count) {
    const unsigned before = others_updates;
    CHECK_EQ(mmu_update(list, count), 0);
    return others_updates - before;
}

}  // namespace

TEST(mmu_update_lets_others_in,
     "mmu_update of much: another vCPU's updates of tables go on meanwhile",
     "cpus=2;vcpus=2;args=dom0_vcpus_pin") {
    constexpr unsigned kPages = 512, kInPage = kPageSize / sizeof(mmu_update_t);
    // A page of requests, again and again.
    const Window window = open_window(), target = open_window();
    auto* requests = alloc_page_as<mmu_update_t>();
    for (unsigned i = 0; i < kInPage; ++i) requests[i] = {machine_address(&target.l1[i]), 0};
    for (unsigned i = 0; i < kPages; ++i)
        CHECK_EQ(window.map(i, pte(mfn_of(requests), kDataFlags)), 0);
    others_window = open_window();
    others_updates = 0;
    raced_through = false;
    start_second_vcpu([] {
        while (!raced_through) {
            if (write_entry(&others_window.l2[1], 0)) break;
            others_updates = others_updates + 1;
        }
        raced_through = true;
    });
    CHECK(wait_for([] { return others_updates > 0; }));
    const auto* list = reinterpret_cast<const mmu_update_t*>(window.va(0));
    const bool went_on = goes_on([=] { return updates_during(list, kPages * kInPage); }, 400);
    CHECK(!raced_through);
    raced_through = true;
    CHECK(went_on);
    for (unsigned i = 0; i < kPages; ++i) CHECK_EQ(window.map(i, 0), 0);
}

}  // namespace guest
