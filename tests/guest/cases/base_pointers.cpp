// Many L4 tables in turn, and what is written into them: a hypervisor that keeps copies of a
// guest's tables (page-table isolation) must always show what they say now.
#include "memory.hpp"
#include "platform.hpp"
#include "test.hpp"

namespace guest {

namespace {

constexpr unsigned kTables = 6;  // more than Xenolith keeps copies of

/// L4 tables that differ in one entry: table `i` maps page `i` at the same address.
struct Tables {
    Window windows[kTables];
    uint64_t* l4[kTables];
    unsigned slot;

    /// The entry that makes page `i` appear.
    uint64_t entry(unsigned i) const { return boot_l4()[windows[i].base >> 39]; }
    uint64_t seen() const { return *windows[0].at(0); }
    void load(unsigned i) const { CHECK_EQ(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(l4[i])), 0); }
};

constexpr uint64_t value_of(unsigned page) {
    return 0x5e70 + page;
}

void load_boot_table() {
    CHECK_EQ(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(boot_l4())), 0);
}

Tables make_tables() {
    Tables tables = {};
    for (unsigned i = 0; i < kTables; ++i) {
        tables.windows[i] = open_window();
        auto* page = alloc_page_as<uint64_t>();
        *page = value_of(i);
        CHECK_EQ(tables.windows[i].map(0, pte(mfn_of(page), kDataFlags)), 0);
    }
    tables.slot = tables.windows[0].base >> 39;
    for (unsigned i = 0; i < kTables; ++i) {
        uint64_t* l4 = tables.l4[i] = alloc_page_as<uint64_t>();
        for (unsigned slot = 0; slot < 512; ++slot)
            if (slot < 256 || slot >= 272) l4[slot] = boot_l4()[slot];
        l4[tables.slot] = tables.entry(i);
        CHECK_EQ(pin(l4, 4), 0);
    }
    return tables;
}

void give_back(const Tables& tables) {
    load_boot_table();
    for (uint64_t* l4 : tables.l4) {
        CHECK_EQ(unpin(l4), 0);
        make_writable(l4);
    }
}

}  // namespace

TEST(base_pointers_in_turn, "mmuext_op NEW_BASEPTR: six tables in turn, changed in all ways",
     "args=xpti=true") {
    const Tables tables = make_tables();
    for (unsigned turn = 0; turn < 3 * kTables; ++turn) {
        tables.load(turn % kTables);
        CHECK_EQ(tables.seen(), value_of(turn % kTables));
    }
    // While it is loaded,
    tables.load(2);
    CHECK_EQ(tables.seen(), value_of(2));
    CHECK_EQ(write_entry(&tables.l4[2][tables.slot], tables.entry(5)), 0);
    CHECK_EQ(mmuext(MMUEXT_TLB_FLUSH_LOCAL), 0);
    CHECK_EQ(tables.seen(), value_of(5));
    // while another is,
    tables.load(1);
    CHECK_EQ(write_entry(&tables.l4[2][tables.slot], tables.entry(3)), 0);
    CHECK_EQ(tables.seen(), value_of(1));
    tables.load(2);
    CHECK_EQ(tables.seen(), value_of(3));
    // and while it is none.
    load_boot_table();
    CHECK_EQ(unpin(tables.l4[2]), 0);
    make_writable(tables.l4[2]);
    tables.l4[2][tables.slot] = tables.entry(4);
    CHECK_EQ(pin(tables.l4[2], 4), 0);
    tables.load(2);
    CHECK_EQ(tables.seen(), value_of(4));
    give_back(tables);
}

namespace {
const Tables* watched;
volatile unsigned asked, answered;
volatile uint64_t answer;
constexpr unsigned kOver = ~0u;
}  // namespace

TEST(base_pointer_of_other_vcpu, "mmu_update of an L4 that another vCPU has loaded",
     "cpus=2;vcpus=2;args=xpti=true") {
    static const Tables tables = make_tables();
    watched = &tables;
    asked = 0;
    answered = 0;
    start_second_vcpu([] {
        watched->load(0);
        for (unsigned turn = 0, now = 0; (now = asked) != kOver;) {
            if (now == turn) continue;
            turn = now;
            answer = watched->seen();
            answered = turn;
        }
        load_boot_table();
        answered = kOver;
    });
    for (unsigned turn = 1; turn <= 200; ++turn) {
        const unsigned page = turn % kTables;
        CHECK_EQ(write_entry(&tables.l4[0][tables.slot], tables.entry(page)), 0);
        CHECK_EQ(mmuext(MMUEXT_TLB_FLUSH_ALL), 0);
        asked = turn;
        CHECK(wait_for([] { return answered == asked; }));
        CHECK_EQ(answer, value_of(page));
    }
    asked = kOver;
    CHECK(wait_for([] { return answered == kOver; }));
    give_back(tables);
}

namespace {
volatile bool through;
volatile unsigned wrong;

void change_to_and_fro(unsigned stride) {
    const uint64_t end = system_time() + 3'000'000'000;
    for (unsigned turn = 0; turn < 2000 && system_time() < end; ++turn) {
        const unsigned table = turn * stride % kTables;
        if (mmuext(MMUEXT_NEW_BASEPTR, mfn_of(watched->l4[table])) ||
            mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(watched->l4[(table + 1) % kTables])) ||
            watched->seen() != value_of(table))
            wrong = wrong + 1;
    }
    if (mmuext(MMUEXT_NEW_BASEPTR, mfn_of(boot_l4())) || mmuext(MMUEXT_NEW_USER_BASEPTR, 0))
        wrong = wrong + 1;
}
}  // namespace

TEST(base_pointers_two_vcpus, "two vCPUs change between the same tables, one of them not pinned",
     "cpus=2;vcpus=2") {
    static const Tables tables = make_tables();
    watched = &tables;
    wrong = 0;
    through = false;
    CHECK_EQ(unpin(tables.l4[3]), 0);
    start_second_vcpu([] {
        change_to_and_fro(5);
        through = true;
    });
    change_to_and_fro(1);
    CHECK(wait_for([] { return through; }, 20'000'000'000));
    CHECK_EQ(wrong, 0);
    // Neither a reference too many was left, or they would still be tables, nor one too few, or
    // they would not have stayed some.
    CHECK_EQ(pin(tables.l4[3], 4), 0);
    give_back(tables);
}

}  // namespace guest
