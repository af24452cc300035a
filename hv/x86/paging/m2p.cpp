#include "hv/x86/paging/m2p.hpp"

#include <xen/xen.h>

#include <algorithm>

#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/memory/page.hpp"
#include "hv/x86/boot/memory_map.hpp"
#include "hv/x86/paging/host.hpp"

namespace hv::paging {
namespace {

constexpr unsigned kBlockOrder = 9;  // 2 MiB: a large page, and the unit of machphys_mfn_list
constexpr uint64_t kBlockBytes = kPageSize << kBlockOrder;
constexpr uint64_t kBlockFrames = kBlockBytes / sizeof(uint64_t);  // a GiB's
constexpr uint64_t kBlocks = memory::kMaxFrames / kBlockFrames;
constexpr uint64_t kBytesOfL3Entry = uint64_t{1} << 30;

// Nobody may write them, so A is set beforehand: the processor need not.
constexpr uint64_t kGuestLeaf = kReadOnlyData | Entry::kUser;
constexpr uint64_t kGuestTable = Entry::kPresent | Entry::kUser | Entry::kAccessed;

Mfn take(unsigned order) {
    const Result<Mfn> first = memory::alloc_frames(order, {.zeroed = false});
    if (!first.ok())
        panic("no memory for the machine-to-physical table; give the machine more memory");
    return *first;
}

void fill(Mfn first, uint64_t bytes, uint64_t value) {
    void* to = arch::mfn_to_virt(first);
    uint64_t words = bytes / sizeof(uint64_t);
    asm volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(value) : "memory");
}

Entry* entries_of(Mfn table) {
    return arch::mfn_to_virt<Entry>(table);
}

/// A table whose entries are all `e`.
Mfn table_of(Entry e) {
    const Mfn table = take(0);
    fill(table, kPageSize, e.raw());
    return table;
}

Entry* window_l3() {
    return entries_of(host_l4()[kSlotM2p].mfn());
}

/// The whole window reads as ~0, by three pages. Linux looks every frame up that it maps, those of
/// devices too, and would fault at each.
Entry map_holes() {
    const Mfn page = take(0);
    fill(page, kPageSize, arch::kInvalidM2p);
    const Mfn l1 = table_of(Entry(page, leaf_flags(kGuestLeaf)));
    const Entry hole(table_of(Entry(l1, kGuestTable)), kGuestTable);
    const uint64_t slots = (MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) / kBytesOfL3Entry;
    std::fill_n(window_l3(), slots, hole);
    return hole;
}

/// The L2 entry that shows the block of that GiB, if it has one, in the guests' window.
Entry& guest_entry(uint64_t gib) {
    const uint64_t linear = kM2p + gib * kBlockBytes;
    const Entry l3e = window_l3()[index_of(linear, 3)];
    return entries_of(l3e.mfn())[index_of(linear, 2)];
}

/// Gives the L2 table of a GiB its own copy, if it is still the one that all holes share.
void own_table(uint64_t gib, Entry hole) {
    Entry& slot = window_l3()[index_of(kM2p + gib * kBlockBytes, 3)];
    if (slot != hole) return;
    const Mfn own = take(0);
    arch::copy_page(own, hole.mfn());
    slot = Entry(own, kGuestTable);
}

void add_block(uint64_t gib, Entry hole) {
    const Mfn block = take(kBlockOrder);
    fill(block, kBlockBytes, arch::kInvalidM2p);
    if (!map_host(kM2pWritable + gib * kBlockBytes, address_of(block), kBlockBytes,
                  kData | Entry::kLarge)
             .ok())
        panic("no memory for the hypervisor's page tables; give the machine more memory");
    own_table(gib, hole);
    guest_entry(gib) = Entry(block, leaf_flags(kGuestLeaf | Entry::kLarge));
    memory::show_to_control_domain(block, kBlockOrder, memory::Access::kReadOnly);
}

}  // namespace

void build_m2p() {
    const Entry hole = map_holes();
    for (const boot::MemoryRegion& region : boot::memory_map()) {
        if (region.type != boot::kRam || !region.bytes) continue;
        const uint64_t first = region.start / kGiB;
        const uint64_t end = (region.start + region.bytes + kGiB - 1) / kGiB;
        for (uint64_t gib = first; gib < std::min(end, kBlocks); ++gib)
            if (!guest_entry(gib).large()) add_block(gib, hole);
    }
}

void show_m2p(Mfn guest_l4) {
    entries_of(guest_l4)[kSlotM2p] = host_l4()[kSlotM2p];
}

void hide_m2p(Mfn guest_l4) {
    entries_of(guest_l4)[kSlotM2p] = Entry();
}

}  // namespace hv::paging

namespace hv::arch {

using namespace paging;

void set_m2p(Mfn mfn, uint64_t pfn) {
    reinterpret_cast<uint64_t*>(kM2pWritable)[mfn.raw()] = pfn;
}
uint64_t get_m2p(Mfn mfn) {
    return reinterpret_cast<uint64_t*>(kM2pWritable)[mfn.raw()];
}

Mfn m2p_block(uint64_t gib) {
    if (gib >= kBlocks) return kInvalidMfn;
    const Entry e = guest_entry(gib);
    return e.large() ? e.mfn() : kInvalidMfn;
}

}  // namespace hv::arch
