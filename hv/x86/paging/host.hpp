// The hypervisor's own page tables. Its L4 slots are filled at boot and never change, so that the
// copy in every guest's L4 table stays true; what changes lies below them.
#pragma once

#include <span>

#include "arch/memory.hpp"
#include "base/result.hpp"
#include "hv/x86/boot/memory_map.hpp"
#include "hv/x86/paging/entry.hpp"
#include "hv/x86/paging/layout.hpp"

namespace hv::paging {

/// Where tables come from: at boot a bump allocator, then memory::alloc_frames.
using TableSource = Result<Mfn> (*)();

/// Builds the final tables from the loader's map: direct map of RAM and firmware tables, image with
/// text read-only and data no-execute; loads them on this CPU. `source` supplies table frames.
void init_host(TableSource source);
/// Whether our own mappings may stay in the TLB while a guest runs: not under page-table isolation.
/// Before init_host().
void allow_global(bool allowed);
/// `flags` as a leaf of ours has them: without G where that is not allowed.
uint64_t leaf_flags(uint64_t flags);
/// From now on tables come from the allocator.
void set_table_source(TableSource source);

/// Maps `bytes` (page multiples) of machine memory at `linear`, in large pages where both are
/// aligned and `flags` allows (kLarge set). Intermediate tables get U if `flags` has it. kENOMEM.
Result<> map_host(uint64_t linear, uint64_t machine_address, uint64_t bytes, uint64_t flags);
/// The same in `l4`, with tables from `source` and without a lock: nobody else maps there.
Result<> map_in(Entry* l4, TableSource source, uint64_t linear, uint64_t machine_address,
                uint64_t bytes, uint64_t flags);
/// The L1 entry for `linear`, which is mapped in 4 KiB pages; nullptr if it is not.
Entry* host_leaf(uint64_t linear);

/// The L4 with nothing but the hypervisor in it.
Entry* host_l4();
Mfn host_l4_mfn();
/// Copies the hypervisor's slots into a guest's L4 table; `perdomain_l3` fills its own slot, and
/// the M2P's stays empty (m2p.hpp).
void fill_hypervisor_slots(Entry* l4, Mfn perdomain_l3);

inline constexpr uint64_t kData = Entry::kPresent | Entry::kWrite | Entry::kAccessed |
                                  Entry::kDirty | Entry::kNoExecute | Entry::kGlobal;
inline constexpr uint64_t kReadOnlyData = kData & ~(Entry::kWrite | Entry::kDirty);
inline constexpr uint64_t kText = Entry::kPresent | Entry::kAccessed | Entry::kGlobal;

}  // namespace hv::paging
