// The direct map: every frame of RAM has an address in the hypervisor, once boot is over.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::arch {

/// Where the direct map begins (ARCHITECTURE.md, "Address space").
#ifdef XENOLITH_HOST
extern uintptr_t kDirectMap;  // a fake machine's memory
#else
inline constexpr uintptr_t kDirectMap = 0xffff830000000000;
#endif

/// Where the array of page structs begins, a window of 16 GiB (hv/memory/page.hpp).
#ifdef XENOLITH_HOST
extern uintptr_t kFrameTable;
#else
inline constexpr uintptr_t kFrameTable = 0xffff82e000000000;
#endif

/// The address of a frame of RAM.
template <class T = void>
T* mfn_to_virt(Mfn mfn) {
    return reinterpret_cast<T*>(kDirectMap + address_of(mfn));
}
template <class T = void>
T* machine_to_virt(uint64_t machine_address) {
    return reinterpret_cast<T*>(kDirectMap + machine_address);
}
/// The frame of an address in the direct map.
inline Mfn virt_to_mfn(const void* address) {
    return base::mfn_of(reinterpret_cast<uintptr_t>(address) - kDirectMap);
}

/// Overwrites a frame with zeros.
void clear_page(Mfn mfn);
void copy_page(Mfn to, Mfn from);

/// Maps `bytes` of device memory or firmware tables at `machine_address` uncached (devices),
/// cached (tables) or with writes gathered (frame buffers; uncached until the CPU's PAT is set) for
/// good; nullptr when out of address space or memory. Not for RAM.
enum class Caching { kUncached, kCached, kWriteCombined };
void* map_device(uint64_t machine_address, size_t bytes, Caching caching = Caching::kUncached);

/// The machine-to-physical table as guests see it (read-only to them). Setting is for the owner
/// of the frame's reservation; there is an entry for each frame of RAM.
void set_m2p(Mfn mfn, uint64_t pfn);
uint64_t get_m2p(Mfn mfn);
inline constexpr uint64_t kInvalidM2p = ~uint64_t{0};
/// The first frame of the 2 MiB that are the table's part for the machine's `gib`-th GiB;
/// kInvalidMfn if there is no RAM.
Mfn m2p_block(uint64_t gib);

/// Backs the page structs (zeroed) of `count` frames from `first` on; both are multiples of
/// memory::kSectionFrames. Runs with the allocator's lock held: frames for contents and page tables
/// come from memory::take_table_frame() only. kENOMEM; may be repeated after a failure.
Result<> back_frame_table(Mfn first, uint64_t count);

}  // namespace hv::arch
