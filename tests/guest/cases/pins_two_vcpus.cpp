// mmuext_op PIN and UNPIN by two vCPUs at once, on the same tables.
#include <initializer_list>

#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "tree.hpp"

namespace guest {

namespace {
const Tree* contested;
uint64_t* refused;  // its last entry would make a table writable
volatile unsigned surprises;
volatile bool done;

/// Pins and unpins the same tables as the other vCPU, and writes entries of the lowest.
void contend(unsigned who) {
    const auto may_fail = [](long answer) {
        if (answer && answer != -kEINVAL) surprises = surprises + 1;
    };
    uint64_t* const l1 = contested->table[1];
    const uint64_t end = system_time() + 3'000'000'000;
    for (unsigned turn = 0; turn < 1500 && system_time() < end; ++turn) {
        may_fail(mmuext(MMUEXT_PIN_L1_TABLE, mfn_of(l1)));
        // What is no table at this moment is written as the page of data that it is then.
        const uint64_t value = turn & 1 ? pte(mfn_of(contested->page), kDataFlags) : 0;
        may_fail(write_entry(&l1[16 + (turn + who) % 8], value));
        if (turn % 3 == who) may_fail(mmuext(MMUEXT_PIN_L2_TABLE, mfn_of(contested->table[2])));
        may_fail(mmuext(MMUEXT_UNPIN_TABLE, mfn_of(l1)));
        if (turn % 3 == who) may_fail(mmuext(MMUEXT_UNPIN_TABLE, mfn_of(contested->table[2])));
        if (turn % 8 == 0 && mmuext(MMUEXT_PIN_L1_TABLE, mfn_of(refused)) == 0)
            surprises = surprises + 1;
    }
}
}  // namespace

TEST(pin_two_vcpus, "mmuext_op PIN and UNPIN, mmu_update: two vCPUs, the same tables",
     "cpus=2;vcpus=2") {
    const Tree tree;
    contested = &tree;
    refused = alloc_page_as<uint64_t>();
    for (unsigned i = 0; i < 512; ++i)
        refused[i] = pte(mfn_of(i < 511 ? tree.page : boot_l4()), kDataFlags);
    make_read_only(refused);
    surprises = 0;
    done = false;
    start_second_vcpu([] {
        contend(1);
        done = true;
    });
    contend(0);
    CHECK(wait_for([] { return done; }, 20'000'000'000));
    CHECK_EQ(surprises, 0);
    for (int level = 1; level <= 2; ++level) {
        mmuext(MMUEXT_UNPIN_TABLE, mfn_of(tree.table[level]));
        CHECK_EQ(mmuext(MMUEXT_UNPIN_TABLE, mfn_of(tree.table[level])), -kEINVAL);
    }
    // No reference was left, on the tables or on what they map: a page may be anything again.
    for (int level = 1; level <= 4; ++level) make_writable(tree.table[level]);
    make_writable(refused);
    *tree.page = 0;
    CHECK_EQ(pin(tree.page, 1), 0);
    CHECK_EQ(unpin(tree.page), 0);
}

namespace {
volatile unsigned updates;

/// How many updates of an L1 and an L2 entry the other vCPU gets done while a tree of 64 full
/// tables is checked, and dropped again.
unsigned updates_meanwhile(const void* l2) {
    const unsigned before = updates;
    CHECK_EQ(mmuext(MMUEXT_PIN_L2_TABLE, mfn_of(l2)), 0);
    CHECK_EQ(mmuext(MMUEXT_UNPIN_TABLE, mfn_of(l2)), 0);
    return updates - before;
}
}  // namespace

TEST(pin_lets_others_in, "mmuext_op PIN and UNPIN of much: another vCPU's updates go on meanwhile",
     "cpus=2;vcpus=2;args=dom0_vcpus_pin") {
    static Window window;
    window = open_window();
    updates = 0;
    done = false;
    auto* l2 = alloc_page_as<uint64_t>();
    const uint64_t leaf = pte(mfn_of(alloc_page()), kDataFlags);
    for (unsigned i = 0; i < 64; ++i) {
        auto* l1 = alloc_page_as<uint64_t>();
        for (unsigned entry = 0; entry < 512; ++entry) l1[entry] = leaf;
        make_read_only(l1);
        l2[i] = pte(mfn_of(l1), kTableFlags);
    }
    make_read_only(l2);
    start_second_vcpu([] {
        while (!done) {
            if (update_va_mapping(window.va(0), 0) || write_entry(&window.l2[1], 0)) break;
            updates = updates + 1;
        }
        done = true;
    });
    CHECK(wait_for([] { return updates > 0; }));
    const bool went_on = goes_on([=] { return updates_meanwhile(l2); }, 40);
    CHECK(!done);
    done = true;
    CHECK(went_on);
}

namespace {

/// Two trees with a root each and all below in common, and one that is refused after much was
/// counted: its L2 names the same L1, and then a page that is mapped writable.
struct Forest {
    Tree tree;
    uint64_t* roots[2];
    Tree bad;

    Forest() {
        for (uint64_t*& root : roots) {
            root = alloc_page_as<uint64_t>();
            root[3] = pte(mfn_of(tree.table[3]), kTableFlags);
            make_read_only(root);
        }
        make_writable(bad.table[2]);
        bad.table[2][3] = pte(mfn_of(tree.table[1]), kTableFlags);
        bad.table[2][5] = pte(mfn_of(bad.page), kTableFlags);
        make_read_only(bad.table[2]);
    }
    void give_back() {
        for (int level = 1; level <= 4; ++level) make_writable(tree.table[level]);
        for (int level = 1; level <= 4; ++level) make_writable(bad.table[level]);
        for (uint64_t* root : roots) make_writable(root);
    }
};
const Forest* forest;

void expect(long answer, long wanted) {
    if (answer != wanted) surprises = surprises + 1;
}

/// Makes its own root a table and undoes it, over tables that the other vCPU does the same to.
void pin_trees(unsigned who) {
    const uint64_t root = mfn_of(forest->roots[who]);
    const uint64_t below = mfn_of(forest->tree.table[2 + who]);
    uint64_t* const l1 = forest->tree.table[1];
    const uint64_t end = system_time() + 4'000'000'000;
    for (unsigned turn = 0; turn < 1500 && system_time() < end; ++turn) {
        expect(mmuext(MMUEXT_PIN_L4_TABLE, root), 0);
        if (turn % 3 == 0) expect(mmuext(MMUEXT_PIN_L2_TABLE + who, below), 0);
        const uint64_t value = turn & 1 ? pte(mfn_of(forest->tree.page), kDataFlags) : 0;
        expect(write_entry(&l1[16 + (turn + who) % 8], value), 0);
        if (turn % 5 == 0)
            expect(mmuext(MMUEXT_PIN_L4_TABLE, mfn_of(forest->bad.table[4])), -kEINVAL);
        expect(mmuext(MMUEXT_UNPIN_TABLE, root), 0);
        if (turn % 3 == 0) expect(mmuext(MMUEXT_UNPIN_TABLE, below), 0);
    }
}

}  // namespace

TEST(pin_trees_two_vcpus, "mmuext_op PIN and UNPIN: two vCPUs, two roots over the same tables",
     "cpus=2;vcpus=2") {
    static Forest trees;
    forest = &trees;
    surprises = 0;
    done = false;
    start_second_vcpu([] {
        pin_trees(1);
        done = true;
    });
    pin_trees(0);
    CHECK(wait_for([] { return done; }, 20'000'000'000));
    CHECK_EQ(surprises, 0);
    // No reference was left, on the tables or on what they map: a page may be anything again.
    trees.give_back();
    for (const uint64_t* page : {trees.tree.page, trees.bad.page}) {
        CHECK_EQ(pin(page, 1), 0);
        CHECK_EQ(unpin(page), 0);
    }
}

}  // namespace guest
