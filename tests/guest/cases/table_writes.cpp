// Direct writes to L1 tables: the guest stores into a page that is mapped read-only to it, the
// hypervisor emulates the store as a checked update. Linux lives on it (`lock andb` in
// ptep_set_wrprotect), although its note says !writable_page_tables.
#include <initializer_list>

#include "memory.hpp"
#include "platform.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {
/// A window with one page mapped by entry 0, and the entry as a place to write to.
struct Target {
    Window window = open_window();
    uint64_t* page = alloc_page_as<uint64_t>();
    volatile uint64_t* entry = window.l1;
    uint64_t value = pte(mfn_of(page), kDataFlags);

    Target() {
        *page = 0xfeed;
        CHECK_EQ(window.map(0, value), 0);
    }
    void flush() const { CHECK_EQ(mmuext(MMUEXT_INVLPG_LOCAL, window.va(0)), 0); }
};
}  // namespace

TEST(table_write_mov, "emulated L1 write: mov of eight bytes sets and clears an entry", "") {
    const Target t;
    t.entry[1] = t.value;
    CHECK_EQ(*t.window.at(1), 0xfeed);
    CHECK(t.entry[1] & kPresent);
    t.entry[1] = 0;
    CHECK_EQ(t.entry[1], 0);
    CHECK_EQ(mmuext(MMUEXT_INVLPG_LOCAL, t.window.va(1)), 0);
    CHECK(catch_trap([&] { *t.window.at(1); }).is(kPageFault, 0));
}

TEST(table_write_mov_immediate, "emulated L1 write: mov of an immediate, indexed addressing", "") {
    const Target t;
    asm volatile("movq $0, 8(%[table], %[index], 8)" ::[table] "r"(t.entry), [index] "r"(2ul)
                 : "memory");
    CHECK_EQ(t.entry[3], 0);
    asm volatile("movq $0, (%0)" ::"r"(t.entry) : "memory");
    CHECK_EQ(t.entry[0], 0);
}

TEST(table_write_byte_and, "emulated L1 write: lock andb clears the write bit, as Linux does", "") {
    const Target t;
    asm volatile("lock andb $0xfd, (%0)" ::"r"(t.entry) : "memory");
    CHECK_EQ(t.entry[0] & kWrite, 0);
    CHECK_EQ(mfn_of_pte(t.entry[0]), mfn_of(t.page));
    t.flush();
    CHECK(catch_trap([&] { *t.window.at(0) = 1; }).is(kPageFault, kPfPresent | kPfWrite));
}

TEST(table_write_byte_mov, "emulated L1 write: movb to the low and to the high byte", "") {
    const Target t;
    const auto low = static_cast<uint8_t>(kReadOnlyFlags);
    asm volatile("movb %1, (%0)" ::"r"(t.entry), "q"(low) : "memory");
    CHECK_EQ(t.entry[0] & kWrite, 0);
    asm volatile("movb $0x80, 7(%0)" ::"r"(t.entry) : "memory");
    CHECK(t.entry[0] & kNoExecute);
    CHECK_EQ(*t.window.at(0), 0xfeed);
}

TEST(table_write_or, "emulated L1 write: lock orq sets bits, flags as the CPU would", "") {
    const Target t;
    asm volatile("lock andb $0xfd, (%0)" ::"r"(t.entry) : "memory");
    bool zero = true, carry = true;
    asm volatile("stc; lock orq $2, (%[e])"
                 : "=@ccz"(zero), "=@ccc"(carry)
                 : [e] "r"(t.entry)
                 : "memory");
    CHECK(!zero && !carry);
    CHECK(t.entry[0] & kWrite);
    t.flush();
    *t.window.at(0) = 3;
    CHECK_EQ(*t.page, 3);
}

TEST(table_write_xchg, "emulated L1 write: xchg hands out the old entry", "") {
    const Target t;
    uint64_t value = 0;
    asm volatile("xchgq %0, (%1)" : "+r"(value) : "r"(t.entry) : "memory");
    CHECK_EQ(mfn_of_pte(value), mfn_of(t.page));
    CHECK(value & kPresent);
    CHECK_EQ(t.entry[0], 0);
    t.flush();
    CHECK(catch_trap([&] { *t.window.at(0); }).is(kPageFault));
}

TEST(table_write_cmpxchg, "emulated L1 write: cmpxchg that fits and one that does not", "") {
    const Target t;
    const uint64_t before = t.entry[0];
    const uint64_t next = before & ~static_cast<uint64_t>(kWrite);
    uint64_t old = before ^ 0x1000;
    bool equal = true;
    asm volatile("lock cmpxchgq %[n], (%[e])"
                 : "=@ccz"(equal), "+a"(old)
                 : [n] "r"(next), [e] "r"(t.entry)
                 : "memory");
    CHECK(!equal);
    CHECK_EQ(old, before);
    CHECK_EQ(t.entry[0], before);
    asm volatile("lock cmpxchgq %[n], (%[e])"
                 : "=@ccz"(equal), "+a"(old)
                 : [n] "r"(next), [e] "r"(t.entry)
                 : "memory");
    CHECK(equal);
    CHECK_EQ(t.entry[0], next);
}

TEST(table_write_bit, "emulated L1 write: lock btr and lock bts of one bit", "") {
    const Target t;
    bool was = false;
    asm volatile("lock btrq $1, (%[e])" : "=@ccc"(was) : [e] "r"(t.entry) : "memory");
    CHECK(was);
    CHECK_EQ(t.entry[0] & kWrite, 0);
    asm volatile("lock btsq $1, (%[e])" : "=@ccc"(was) : [e] "r"(t.entry) : "memory");
    CHECK(!was);
    CHECK(t.entry[0] & kWrite);
}

TEST(table_write_refused, "emulated L1 write: what the checks refuse is a #PF to the guest", "") {
    const Target t;
    const uint64_t bad = pte(mfn_of(t.window.l1), kDataFlags);
    const Trap trap = catch_trap([&] { t.entry[2] = bad; });
    CHECK(trap.is(kPageFault, kPfPresent | kPfWrite));
    CHECK_EQ(trap.cr2, addr(const_cast<uint64_t*>(&t.entry[2])));
    CHECK_EQ(t.entry[2], 0);
}

TEST(table_write_misaligned, "emulated L1 write: one that reaches into two entries is refused",
     "") {
    const Target t;
    const uint64_t before = t.entry[0];
    const Trap trap = catch_trap([&] { asm volatile("movq $0, 4(%0)" ::"r"(t.entry) : "memory"); });
    CHECK(trap.is(kPageFault, kPfPresent | kPfWrite));
    CHECK_EQ(t.entry[0], before);
}

TEST(table_write_upper_levels, "direct writes to L2, L3, L4 tables are not emulated", "") {
    const Target t;
    for (uint64_t* table : {t.window.l2, t.window.l3, boot_l4()}) {
        const Trap trap = catch_trap([&] { *const_cast<volatile uint64_t*>(&table[6]) = 0; });
        CHECK(trap.is(kPageFault, kPfPresent | kPfWrite));
    }
}

namespace {

volatile uint64_t* both_write;
volatile bool other_is_there, other_is_through;
constexpr unsigned kWrites = 4000;

/// Counts in an entry that is not present, and turns a bit of one that is to and fro.
void count_and_turn(uint64_t bit) {
    for (unsigned i = 0; i < kWrites; ++i) {
        asm volatile("lock addq $0x1000, 8(%0)" ::"r"(both_write) : "memory");
        asm volatile("lock xorq %1, (%0)" ::"r"(both_write), "r"(bit) : "memory");
        // Each write by itself: the frame is mapped writable, or not.
        asm volatile("lock xorb $2, (%0)" ::"r"(both_write) : "memory");
    }
    asm volatile("lock xorq %1, (%0)" ::"r"(both_write), "r"(bit) : "memory");
}

}  // namespace

TEST(table_write_two_vcpus, "emulated L1 write: locked ones of two vCPUs to the same entries",
     "cpus=2;vcpus=2") {
    const Target t;
    both_write = t.entry;
    other_is_there = false;
    other_is_through = false;
    start_second_vcpu([] {
        other_is_there = true;
        count_and_turn(0x400);
        other_is_through = true;
    });
    while (!other_is_there) asm volatile("pause");
    count_and_turn(0x200);
    CHECK(wait_for([] { return other_is_through; }, 20'000'000'000));
    CHECK_EQ(t.entry[1] >> 12, 2 * kWrites);
    CHECK_EQ(t.entry[0] & 0xe00, 0x600);
    CHECK_EQ(t.entry[0] & kWrite, kWrite);
    CHECK_EQ(mfn_of_pte(t.entry[0]), mfn_of(t.page));
    // No reference too many was left, and none too few.
    CHECK_EQ(t.window.map(0, 0), 0);
    CHECK_EQ(t.window.map(1, 0), 0);
    *t.page = 0;
    CHECK_EQ(pin(t.page, 1), 0);
    CHECK_EQ(unpin(t.page), 0);
}

}  // namespace guest
