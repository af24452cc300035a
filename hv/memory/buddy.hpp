// Free blocks of 2^order frames, in lists by node, zone and order. Buddies of one node always
// merge.
//
// A zone is the width of the frame number: zone z holds the frames [2^(z-1), 2^z). An aligned
// block never crosses a zone's border, so "below 2^n bytes" is "zone at most n - 12". Frame 0 is
// never free. Taking prefers high zones: low memory is left to those who need it.
//
// Only a block's head is described: kFree and kBlockDirty in its page struct, its order in the
// type word, its links in the free memory itself. The flags kNeedsScrub, kZeroed and kStamped (with
// the stamp) belong to each frame and survive splitting and merging.
// No lock here: the allocator's is held.
#pragma once

#include <bit>

#include "hv/memory/allocator.hpp"

namespace hv::memory {

class Buddy {
  public:
    static constexpr unsigned kZones = 31;  // widths of a frame number below kMaxFrames
    static unsigned zone_of(Mfn mfn) { return static_cast<unsigned>(std::bit_width(mfn.raw())); }

    /// Adds a block whose frames have their per-frame flags set already; merges it.
    void insert(Mfn first, unsigned order, bool dirty);
    /// Adds [first, first + count), of one node, as the largest aligned blocks.
    void insert_range(Mfn first, uint64_t count, bool dirty);
    /// The highest zone up to `max_zone` in which `node` can give a block of `order`; 0: none.
    unsigned best_zone(unsigned order, unsigned max_zone, Node node) const;
    /// Takes a block out of `zone` (of best_zone()); the rest of a larger one stays.
    Mfn take(unsigned order, unsigned zone, Node node);

    /// A block in which a frame may need scrubbing, left in its list; false if there is none.
    struct DirtyBlock {
        Mfn first;
        unsigned order;
    };
    bool find_dirty(DirtyBlock& block) const;
    /// Takes that block out, to be inserted again when it is scrubbed.
    void withdraw(const DirtyBlock& block) { unlink(block.first, block.order); }

  private:
    static constexpr Mfn kNoBlock{0};  // frame 0 is never free; the lists lie in zeroed memory so
    struct Links {                     // in the first bytes of the block
        Mfn next;
        Mfn prev;
    };
    struct ListHead {  // clean blocks at the front, dirty ones at the back
        Mfn front = kNoBlock;
        Mfn back = kNoBlock;
    };

    struct OfNode {
        ListHead lists[kZones][kMaxOrder + 1];
        uint32_t orders[kZones] = {};  // bit n: the list of order n is not empty
        uint32_t zones = 0;            // bit z: zone z has a block
    };

    static Links& links(Mfn block) { return *arch::mfn_to_virt<Links>(block); }
    void link(Mfn block, unsigned order, bool dirty);
    bool unlink(Mfn block, unsigned order);  ///< whether it was dirty

    static bool find_dirty(const OfNode& node, DirtyBlock& block);

    OfNode nodes_[nodes::kMaxNodes];
};

}  // namespace hv::memory
