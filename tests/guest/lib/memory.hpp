// Frames and page tables: where the boot page tables are, how entries are found, pages to work
// with.
#pragma once

#include "xen.hpp"

namespace guest {

constexpr uint64_t kPageSize = 4096;

/// Bits of a page-table entry.
enum PteBit : uint64_t {
    kPresent = 1,
    kWrite = 2,
    kUser = 4,
    kAccessed = 0x20,
    kDirty = 0x40,
    kLarge = 0x80,
    kGlobal = 0x100,
    kNoExecute = 1ul << 63
};
constexpr uint64_t kFrameMask = 0x000ffffffffff000;
/// What a kernel data page and a table carry.
constexpr uint64_t kDataFlags = kPresent | kWrite | kUser | kAccessed | kDirty;
constexpr uint64_t kTableFlags = kPresent | kWrite | kUser | kAccessed | kDirty;
constexpr uint64_t kReadOnlyFlags = kPresent | kUser | kAccessed;

constexpr uint64_t pte(uint64_t mfn, uint64_t flags) {
    return mfn << 12 | flags;
}
constexpr uint64_t mfn_of_pte(uint64_t entry) {
    return (entry & kFrameMask) >> 12;
}

extern "C" const unsigned char virt_base[];

/// Pseudo-physical frame of an address in the boot mapping, and back.
uint64_t pfn_of(const volatile void* va);
void* va_of_pfn(uint64_t pfn);
/// The boot p2m list, whatever address it was given (start_info.mfn_list).
uint64_t* p2m();
uint64_t mfn_of(const volatile void* va);
/// The hypervisor's machine-to-pseudo-physical table.
inline uint64_t m2p(uint64_t mfn) {
    return machine_to_phys_mapping[mfn];
}

/// The boot L4, as an address in the boot mapping.
uint64_t* boot_l4();
/// The entry that maps `va` at `level` (1..4) in the boot tables; nullptr when a higher one is not
/// present. Page tables are mapped read-only: look, and write by hypercall.
uint64_t* entry_of(Arg va, int level = 1);
/// Machine address of a word in the boot mapping: what mmu_update and GNTMAP_contains_pte take.
uint64_t machine_address(const volatile void* p);
/// mmu_update of one entry; returns its errno.
long write_entry(const volatile void* entry, uint64_t value, unsigned cmd = MMU_NORMAL_PT_UPDATE);
/// Changes what the page at `va` (boot mapping) is mapped with; fails the test when refused.
void remap(const void* va, uint64_t new_pte);
void make_read_only(const void* page);
void make_writable(const void* page);

/// A zeroed page of the image's pool. Never given out twice in a boot, so that what a failed test
/// left behind cannot disturb the next one.
void* alloc_page();
template <typename T>
T* alloc_page_as() {
    return static_cast<T*>(alloc_page());
}
/// Adjacent pages, in pseudo-physical and virtual addresses.
void* alloc_pages(unsigned count);

long mmuext(unsigned cmd, uint64_t mfn_or_address = 0);
/// Makes the page read-only and pins it as a table of `level`.
long pin(const void* page, int level);
long unpin(const void* page);

/// A fresh address range (a free L4 slot) with tables of its own: 512 L1 entries to play with.
struct Window {
    uint64_t *l3, *l2, *l1;  ///< the tables, read-only in the boot mapping
    Arg base;                ///< address that entry 0 maps

    Arg va(unsigned index) const { return base + index * kPageSize; }
    volatile uint64_t* at(unsigned index) const { return reinterpret_cast<uint64_t*>(va(index)); }
    /// Maps by mmu_update; returns its errno.
    long map(unsigned index, uint64_t value) const { return write_entry(&l1[index], value); }
};
/// Opens a window; each lies in its own L4 slot below the hypervisor's.
Window open_window();

}  // namespace guest
