// RAM that nobody has ever had: ranges, not blocks, until a section of it is populated.
//
// Populating a section backs its page structs and hands its free frames to the buddy lists. The
// frames this takes are set aside when RAM is added (`reserve`), so the count of free pages is the
// same before and after.
#pragma once

#include "hv/memory/buddy.hpp"

namespace hv::memory {

class Sections {
  public:
    /// Adds [first, end), all of one node; what lies in populated sections goes to `buddy` at once.
    /// Returns how many frames became free (some are set aside, and frame 0 is left out).
    uint64_t add(Mfn first, Mfn end, Buddy& buddy);

    /// The zone of the node's highest frame below `limit` that is still unpopulated; 0: none.
    unsigned best_zone(Mfn limit, Node node) const;
    /// Populates the section of that frame. kENOMEM: none left, or nothing to back it with.
    Result<> populate_highest(Mfn limit, Node node, Buddy& buddy);

    Result<Mfn> take_table_frame();

  private:
    struct Range {
        Mfn first;
        Mfn end;
        Node node = 0;
        uint64_t size() const { return end - first; }
    };
    /// As many as a firmware's memory map has entries; what does not fit is not used.
    static constexpr size_t kMaxRanges = 128;

    uint64_t charge(Range range);
    void set_aside(Range range);
    const Range* highest(Mfn limit, Node node) const;
    bool keep(Range range);
    void move_to_buddy(uint64_t section, Buddy& buddy);

    Range ranges_[kMaxRanges];  // unpopulated, in no order
    size_t range_count_ = 0;
    Range reserve_[kMaxRanges];
    size_t reserve_count_ = 0;
    uint64_t debt_ = 0;  // frames that the next large range has to set aside
    uint64_t charged_[kSections / 64] = {};
};

}  // namespace hv::memory
