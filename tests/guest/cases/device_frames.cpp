// Frames of devices in Domain 0's page tables: which it may map, and which it may only read.
#include <initializer_list>

#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {

constexpr uint64_t kIoApic = 0xfec00, kHpet = 0xfed00, kLocalApic = 0xfee00;
constexpr uint64_t kWriteThrough = 8, kCacheDisable = 0x10;
constexpr uint64_t kUncached = kWriteThrough | kCacheDisable;
/// Where q35's memory-mapped configuration space begins; a device of the machine's in any case.
constexpr uint64_t kHostBridge = 0xb0000;

}  // namespace

TEST(device_local_apic, "the local APIC's page is not Domain 0's to map", "") {
    const Window window = open_window();
    CHECK_EQ(window.map(0, pte(kLocalApic, kDataFlags | kUncached)), -kEPERM);
    CHECK_EQ(window.map(0, pte(kLocalApic, kReadOnlyFlags | kUncached)), -kEPERM);
    CHECK_EQ(window.l1[0], 0);
}

TEST(device_read_only, "I/O APIC and HPET: a writable mapping becomes a read-only one", "") {
    const Window window = open_window();
    for (const uint64_t mfn : {kIoApic, kHpet}) {
        CHECK_EQ(window.map(0, pte(mfn, kDataFlags | kUncached)), 0);
        CHECK_EQ(mfn_of_pte(window.l1[0]), mfn);
        CHECK_EQ(window.l1[0] & kWrite, 0);
        CHECK_EQ(write_entry(&window.l1[0], pte(mfn, kDataFlags | kUncached | kDirty)), 0);
        CHECK_EQ(window.l1[0] & kWrite, 0);
        CHECK_EQ(update_va_mapping(window.va(0), pte(mfn, kDataFlags | kUncached), UVMF_INVLPG), 0);
        CHECK_EQ(window.l1[0] & kWrite, 0);
        CHECK_EQ(window.map(0, 0), 0);
    }
}

TEST(device_write_dropped, "a write to a device page that is read-only has no effect and no fault",
     "") {
    const Window window = open_window();
    CHECK_EQ(window.map(0, pte(kHpet, kDataFlags | kUncached)), 0);
    auto* hpet = reinterpret_cast<volatile uint32_t*>(window.va(0));
    const uint32_t period = hpet[1];
    CHECK(period > 0 && period <= 100'000'000);  // femtoseconds
    const uint32_t configuration = hpet[4];
    hpet[4] = configuration ^ 3;
    CHECK_EQ(hpet[4], configuration);
    // What reads too is not emulated.
    CHECK(catch_trap([&] { asm volatile("lock xorl $3, %0" : : "m"(hpet[4])); }).is(kPageFault));
    CHECK_EQ(hpet[4], configuration);
    CHECK_EQ(window.map(0, 0), 0);
}

TEST(device_uncached, "a device page is mapped uncached, whatever the entry asks for", "") {
    const Window window = open_window();
    CHECK_EQ(window.map(0, pte(kHostBridge, kReadOnlyFlags)), 0);
    CHECK_EQ(window.l1[0] & kUncached, kUncached);
    CHECK_EQ(window.map(0, pte(kHostBridge, kReadOnlyFlags | kWriteThrough)), 0);
    CHECK_EQ(window.l1[0] & kUncached, kUncached);
    CHECK_EQ(window.map(0, pte(kHostBridge, kReadOnlyFlags | kCacheDisable)), 0);  // UC-
    CHECK_EQ(window.l1[0] & kUncached, kCacheDisable);
    CHECK_EQ(window.map(0, pte(kHostBridge, kReadOnlyFlags | kLarge)), 0);  // PAT: write-combining
    CHECK_EQ(window.l1[0] & (kUncached | kLarge), kLarge);
    CHECK_EQ(window.map(0, pte(kHostBridge, kReadOnlyFlags | kLarge | kWriteThrough)), 0);  // WP
    CHECK_EQ(window.l1[0] & (kUncached | kLarge), kUncached);
    CHECK_EQ(window.map(0, 0), 0);
}

}  // namespace guest
