#include "hv/memory/sections.hpp"

#include <algorithm>

#include "hv/console/log.hpp"

namespace hv::memory {

namespace {

// What one section takes: its structs, and at worst a new last-level page table to map them. The
// levels above are charged once: one of their tables serves 256 GiB of RAM or more.
constexpr uint64_t kStructFrames = kSectionFrames * sizeof(PageInfo) / kPageSize;
constexpr uint64_t kSectionCharge = kStructFrames + 1;
constexpr uint64_t kUpperLevels = 4;

constexpr uint64_t section_of(Mfn mfn) {
    return mfn.raw() >> kSectionShift;
}
constexpr Mfn section_start(uint64_t section) {
    return Mfn{section << kSectionShift};
}

bool is_backed(uint64_t section) {
    return (backed_sections[section / 64].load(std::memory_order_relaxed) >> (section % 64)) & 1;
}

}  // namespace

/// How many frames have to be set aside for the sections that `range` touches first.
uint64_t Sections::charge(Range range) {
    uint64_t frames = 0;
    for (uint64_t s = section_of(range.first); s <= section_of(range.end - 1); ++s) {
        const uint64_t bit = uint64_t{1} << (s % 64);
        if (charged_[s / 64] & bit) continue;
        charged_[s / 64] |= bit;
        frames += kSectionCharge;
    }
    return frames;
}

void Sections::set_aside(Range range) {
    invariant(reserve_count_ < kMaxRanges, "more memory ranges than a memory map has");
    reserve_[reserve_count_++] = range;
}

bool Sections::keep(Range range) {
    if (range.size() == 0) return true;
    if (range_count_ == kMaxRanges) return false;
    ranges_[range_count_++] = range;
    return true;
}

uint64_t Sections::add(Mfn first, Mfn end, Buddy& buddy) {
    Range range{std::max(first, Mfn{1}), std::min(end, Mfn{kMaxFrames}), nodes::of(first)};
    if (range.first >= range.end) return 0;

    if (reserve_count_ == 0 && debt_ == 0) debt_ = kUpperLevels;
    debt_ += charge(range);
    // Small ranges lie in low memory, which is precious: let a larger one pay.
    if (debt_ && range.size() >= 4 * debt_) {
        set_aside({range.end - debt_, range.end, range.node});
        range.end = range.end - debt_;
        debt_ = 0;
    }

    uint64_t added = 0;
    for (Mfn at = range.first; at < range.end;) {
        const uint64_t section = section_of(at);
        Mfn stop = std::min(range.end, section_start(section + 1));
        if (is_backed(section)) {
            buddy.insert_range(at, stop - at, false);
        } else {  // as far as nothing is populated, one range
            while (stop < range.end && !is_backed(section_of(stop)))
                stop = std::min(range.end, section_start(section_of(stop) + 1));
            if (!keep({at, stop, range.node})) break;
        }
        added += stop - at;
        at = stop;
    }
    return added;
}

const Sections::Range* Sections::highest(Mfn limit, Node node) const {
    const Range* best = nullptr;
    for (size_t i = 0; i < range_count_; ++i) {
        if (ranges_[i].first >= limit || ranges_[i].node != node) continue;
        if (!best || ranges_[i].first > best->first) best = &ranges_[i];
    }
    return best;
}

unsigned Sections::best_zone(Mfn limit, Node node) const {
    const Range* range = highest(limit, node);
    return range ? Buddy::zone_of(std::min(range->end, limit) - 1) : 0;
}

/// Cuts the section out of the ranges; its frames become free blocks.
void Sections::move_to_buddy(uint64_t section, Buddy& buddy) {
    const Mfn start = section_start(section);
    const Mfn stop = section_start(section + 1);
    for (size_t i = 0; i < range_count_;) {
        const Range range = ranges_[i];
        if (range.end <= start || range.first >= stop) {
            ++i;
            continue;
        }
        ranges_[i] = ranges_[--range_count_];
        const Range inside{std::max(range.first, start), std::min(range.end, stop), range.node};
        buddy.insert_range(inside.first, inside.size(), false);
        // At least one of the two fits in the place just freed; for the other, see kMaxRanges.
        if (range.first < start) keep({range.first, start, range.node});
        if (range.end > stop) keep({stop, range.end, range.node});
    }
}

Result<> Sections::populate_highest(Mfn limit, Node node, Buddy& buddy) {
    const Range* range = highest(limit, node);
    if (!range) return Errno::kENOMEM;
    const uint64_t section = section_of(std::min(range->end, limit) - 1);
    // A section in the middle of a range splits it: only if there is room for the second half.
    if (range_count_ == kMaxRanges && range->first < section_start(section) &&
        range->end > section_start(section + 1))
        return Errno::kENOMEM;

    TRY(arch::back_frame_table(section_start(section), kSectionFrames));
    backed_sections[section / 64].fetch_or(uint64_t{1} << (section % 64),
                                           std::memory_order_release);
    move_to_buddy(section, buddy);
    return {};
}

Result<Mfn> Sections::take_table_frame() {
    while (reserve_count_) {
        Range& range = reserve_[reserve_count_ - 1];
        if (range.size() == 0) {
            --reserve_count_;
            continue;
        }
        range.end = range.end - 1;
        return range.end;
    }
    return Errno::kENOMEM;
}

}  // namespace hv::memory
