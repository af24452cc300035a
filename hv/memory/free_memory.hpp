// All free frames and their counts, behind the allocator's lock. Inside this room only.
#pragma once

#include "base/lock.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/memory/buddy.hpp"
#include "hv/memory/low_memory.hpp"
#include "hv/memory/sections.hpp"

namespace hv::memory {

struct FreeMemory {
    Buddy buddy;
    Sections sections;
    uint64_t free = 0;                        ///< frames, unpopulated ones included
    uint64_t free_of[nodes::kMaxNodes] = {};  ///< the same by node
    uint64_t claims = 0;                      ///< of `free`, promised to domains
    uint64_t described = 0;                   ///< RAM in the machine's map, in frames
    Mfn max_page{0};
    LowMemoryRule low;
    void (*on_low)() = nullptr;

    void count(Node node, uint64_t frames) {
        free += frames;
        free_of[node] += frames;
    }
    void uncount(Node node, uint64_t frames) {
        free -= frames;
        free_of[node] -= frames;
    }
};

using FreeMemoryLock = Locked<FreeMemory, Rank::kAllocator>;
extern FreeMemoryLock free_memory;

/// A block with its per-frame flags as they were left by whoever had it; `claimed`: pages that the
/// caller's own claim covers. Of several nodes, `options.node` says which to ask first. kENOMEM.
Result<Mfn> take_block(unsigned order, const AllocOptions& options, uint64_t claimed);

/// Makes a block fit for a new owner: no CPU has a TLB entry left, contents scrubbed (with `zeroed`
/// also memory that was never used); every frame's refs becomes `refs`, its type none.
void prepare_block(Mfn first, unsigned order, bool zeroed, uint64_t refs);

/// Frees a block whose frames nobody uses any more; each will be scrubbed and flushed before reuse.
void return_block(Mfn first, unsigned order);

}  // namespace hv::memory
