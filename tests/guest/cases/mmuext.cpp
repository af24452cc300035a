// mmuext_op: pinning, base pointers, cache and page operations.
#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"
#include "tree.hpp"
#include "user.hpp"

namespace guest {

TEST(pin_each_level, "mmuext_op PIN_L1..L4 and UNPIN: validated from below, given back", "") {
    const Tree tree;
    for (int level = 1; level <= 4; ++level) {
        CHECK_EQ(pin(tree.table[level], level), 0);
        for (int below = 1; below <= level; ++below)
            CHECK_EQ(update_va_mapping(addr(tree.table[below]),
                                       pte(mfn_of(tree.table[below]), kDataFlags), UVMF_INVLPG),
                     -kEBUSY);
        CHECK_EQ(unpin(tree.table[level]), 0);
    }
    for (int level = 1; level <= 4; ++level) make_writable(tree.table[level]);
}

TEST(pin_twice, "mmuext_op: pinning a pinned table, unpinning an unpinned one", "") {
    const Tree tree;
    CHECK_EQ(pin(tree.table[1], 1), 0);
    CHECK_EQ(mmuext(MMUEXT_PIN_L1_TABLE, mfn_of(tree.table[1])), -kEINVAL);
    CHECK_EQ(mmuext(MMUEXT_PIN_L2_TABLE, mfn_of(tree.table[1])), -kEINVAL);
    CHECK_EQ(unpin(tree.table[1]), 0);
    CHECK_EQ(unpin(tree.table[1]), -kEINVAL);
    CHECK_EQ(unpin(tree.page), -kEINVAL);
}

TEST(pin_refuses_writable, "mmuext_op PIN: a page that is mapped writable, a frame not there", "") {
    auto* page = alloc_page_as<uint64_t>();
    CHECK_EQ(mmuext(MMUEXT_PIN_L1_TABLE, mfn_of(page)), -kEINVAL);
    CHECK_EQ(mmuext(MMUEXT_PIN_L4_TABLE, mfn_of(page)), -kEINVAL);
    CHECK_EQ(mmuext(MMUEXT_PIN_L1_TABLE, 0xffffffffful), -kEINVAL);
    CHECK_EQ(mmuext(MMUEXT_UNPIN_TABLE, 0xffffffffful), -kEINVAL);
}

TEST(pin_keeps_unlinked_table, "mmuext_op PIN: a table stays typed when its last entry goes", "") {
    const Window window = open_window();
    CHECK_EQ(mmuext(MMUEXT_PIN_L1_TABLE, mfn_of(window.l1)), 0);
    CHECK_EQ(write_entry(&window.l2[0], 0), 0);
    CHECK_EQ(update_va_mapping(addr(window.l1), pte(mfn_of(window.l1), kDataFlags), UVMF_INVLPG),
             -kEBUSY);
    CHECK_EQ(unpin(window.l1), 0);
    make_writable(window.l1);
}

TEST(mmuext_batch_stops, "mmuext_op: a batch stops at the bad operation and says how many it did",
     "") {
    mmuext_op_t ops[3] = {};
    ops[0].cmd = MMUEXT_TLB_FLUSH_LOCAL;
    ops[1].cmd = 99;
    ops[2].cmd = MMUEXT_TLB_FLUSH_LOCAL;
    unsigned done = 9;
    CHECK_EQ(mmuext_op(ops, 3, &done), -kENOSYS);
    CHECK_EQ(done, 1);
    CHECK_EQ(mmuext_op(ops, 1, &done), 0);
    CHECK_EQ(done, 1);
    CHECK_EQ(mmuext_op(ops, 1, nullptr, 1234), -kESRCH);
    CHECK_EQ(hypercall(__HYPERVISOR_mmuext_op, 0x1000, 1, 0, DOMID_SELF), -kEFAULT);
}

TEST(new_baseptr_switches, "mmuext_op NEW_BASEPTR: another L4 is walked, the old one again", "") {
    auto* copy = alloc_page_as<uint64_t>();
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    *page = 0x77;
    CHECK_EQ(window.map(0, pte(mfn_of(page), kDataFlags)), 0);
    for (unsigned slot = 0; slot < 512; ++slot)
        if (slot < 256 || slot >= 272) copy[slot] = boot_l4()[slot];
    const unsigned slot = window.base >> 39;
    copy[slot] = 0;
    make_read_only(copy);
    CHECK_EQ(*window.at(0), 0x77);
    CHECK_EQ(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(copy)), 0);
    const Trap trap = catch_trap([&] { *window.at(0); });
    // The old one is no longer held by the base pointer, but it is still pinned.
    CHECK_EQ(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(boot_l4())), 0);
    CHECK(trap.is(kPageFault));
    CHECK_EQ(*window.at(0), 0x77);
    make_writable(copy);
}

TEST(new_baseptr_refuses, "mmuext_op NEW_BASEPTR: a page that cannot be an L4", "") {
    const Window window = open_window();
    CHECK_EQ(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(window.l1)), -kEINVAL);
    CHECK_EQ(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(alloc_page())), -kEINVAL);
    CHECK_EQ(mmuext(MMUEXT_NEW_BASEPTR, 0xffffffffful), -kEINVAL);
    CHECK_EQ(*reinterpret_cast<volatile char*>(boot_l4()), *reinterpret_cast<char*>(boot_l4()));
}

TEST(new_user_baseptr_holds, "mmuext_op NEW_USER_BASEPTR: types its L4; zero lets it go", "") {
    const Tree tree;
    uint64_t* l4 = tree.table[4];
    CHECK_EQ(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(l4)), 0);
    CHECK_EQ(update_va_mapping(addr(l4), pte(mfn_of(l4), kDataFlags), UVMF_INVLPG), -kEBUSY);
    CHECK_EQ(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(tree.page)), -kEINVAL);
    CHECK_EQ(mmuext(MMUEXT_NEW_USER_BASEPTR, 0), 0);
    make_writable(l4);
}

TEST(mmuext_clear_and_copy_page, "mmuext_op CLEAR_PAGE and COPY_PAGE, and on a table", "") {
    auto* from = alloc_page_as<uint64_t>();
    auto* to = alloc_page_as<uint64_t>();
    for (unsigned i = 0; i < 512; ++i) from[i] = i * 3;
    mmuext_op_t op = {};
    op.cmd = MMUEXT_COPY_PAGE;
    op.arg1.mfn = mfn_of(to);
    op.arg2.src_mfn = mfn_of(from);
    CHECK_EQ(mmuext_op(&op, 1), 0);
    CHECK(!memcmp(from, to, kPageSize));
    CHECK_EQ(mmuext(MMUEXT_CLEAR_PAGE, mfn_of(to)), 0);
    for (unsigned i = 0; i < 512; ++i) CHECK_EQ(to[i], 0);
    const Window window = open_window();
    CHECK_EQ(mmuext(MMUEXT_CLEAR_PAGE, mfn_of(window.l1)), -kEINVAL);
    op.arg1.mfn = mfn_of(window.l1);
    CHECK_EQ(mmuext_op(&op, 1), -kEINVAL);
}

TEST(mmuext_cache_flush, "mmuext_op FLUSH_CACHE and FLUSH_CACHE_GLOBAL, as Domain 0", "") {
    CHECK_EQ(mmuext(MMUEXT_FLUSH_CACHE), 0);
    CHECK_EQ(mmuext(MMUEXT_FLUSH_CACHE_GLOBAL), 0);
}

TEST(mmuext_superpage_marks, "mmuext_op MARK_SUPER and UNMARK_SUPER: not offered", "") {
    CHECK_EQ(mmuext(MMUEXT_MARK_SUPER, mfn_of(boot_l4())), -kEOPNOTSUPP);
    CHECK_EQ(mmuext(MMUEXT_UNMARK_SUPER, mfn_of(boot_l4())), -kEOPNOTSUPP);
}

}  // namespace guest
