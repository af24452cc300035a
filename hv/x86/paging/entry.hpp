// A page-table entry as the processor reads it (AMD64 manual vol. 2, 5.3), and what a PV guest may
// put into one.
#pragma once

#include "hv/limits.hpp"

namespace hv::paging {

class Entry {
  public:
    static constexpr uint64_t kPresent = 1 << 0;
    static constexpr uint64_t kWrite = 1 << 1;
    static constexpr uint64_t kUser = 1 << 2;
    static constexpr uint64_t kWriteThrough = 1 << 3;
    static constexpr uint64_t kCacheDisable = 1 << 4;
    static constexpr uint64_t kAccessed = 1 << 5;
    static constexpr uint64_t kDirty = 1 << 6;
    static constexpr uint64_t kLarge = 1 << 7;  ///< L2, L3; PAT in an L1 entry
    static constexpr uint64_t kPat = 1 << 7;
    static constexpr uint64_t kGlobal = 1 << 8;
    static constexpr uint64_t kNoExecute = uint64_t{1} << 63;
    /// Set in kernel mappings of a 64-bit PV guest, which all carry the U bit (TRAPS.md).
    static constexpr uint64_t kGuestKernel = uint64_t{1} << 52;
    static constexpr uint64_t kAddress = 0x000ffffffffff000;

    constexpr Entry() = default;
    constexpr explicit Entry(uint64_t raw) : raw_(raw) {}
    constexpr Entry(Mfn mfn, uint64_t flags) : raw_(address_of(mfn) | flags) {}

    constexpr uint64_t raw() const { return raw_; }
    constexpr Mfn mfn() const { return mfn_of(raw_ & kAddress); }
    constexpr uint64_t flags() const { return raw_ & ~kAddress; }
    constexpr bool present() const { return raw_ & kPresent; }
    constexpr bool writable() const { return raw_ & kWrite; }
    constexpr bool large() const { return raw_ & kLarge; }
    constexpr Entry with(uint64_t bits) const { return Entry(raw_ | bits); }
    constexpr Entry without(uint64_t bits) const { return Entry(raw_ & ~bits); }
    friend constexpr bool operator==(Entry, Entry) = default;

  private:
    uint64_t raw_ = 0;
};
static_assert(sizeof(Entry) == 8);

inline constexpr size_t kEntries = 512;
inline constexpr unsigned kLevelBits = 9;

/// The index into a table of `level` (1…4) for a linear address.
constexpr size_t index_of(uint64_t linear, unsigned level) {
    return (linear >> (kPageShift + (level - 1) * kLevelBits)) & (kEntries - 1);
}

/// The L4 slots that are the hypervisor's: 0xffff800000000000 – 0xffff87ffffffffff.
inline constexpr size_t kFirstHypervisorSlot = 256;
inline constexpr size_t kLastHypervisorSlot = 271;
constexpr bool is_hypervisor_slot(size_t l4_index) {
    return l4_index >= kFirstHypervisorSlot && l4_index <= kLastHypervisorSlot;
}
inline constexpr uint64_t kHypervisorStart = 0xffff800000000000;
inline constexpr uint64_t kHypervisorEnd = 0xffff880000000000;
constexpr bool is_canonical(uint64_t linear) {
    return static_cast<uint64_t>(static_cast<int64_t>(linear << 16) >> 16) == linear;
}
/// Canonical and not the hypervisor's.
constexpr bool is_guest_address(uint64_t linear) {
    return is_canonical(linear) && (linear < kHypervisorStart || linear >= kHypervisorEnd);
}

/// A leaf entry as it goes into a PV guest's L1 table: kernel mappings gain U and kGuestKernel,
/// user mappings gain G (they survive the switch between the guest's two page tables).
constexpr Entry adjust_guest_leaf(Entry e) {
    if (!e.present()) return e;
    if (!(e.raw() & Entry::kUser) || (e.raw() & Entry::kGuestKernel))
        return e.with(Entry::kUser | Entry::kGuestKernel).without(Entry::kGlobal);
    return e.with(Entry::kGlobal);
}
/// The same for an entry that names a lower table.
constexpr Entry adjust_guest_table(Entry e) {
    return e.present() ? e.with(Entry::kUser) : e;
}

}  // namespace hv::paging
