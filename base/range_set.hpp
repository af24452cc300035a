// A set of numbers kept as ranges, for sets of few ranges whatever their lengths.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.hpp"

namespace base {

/// At most N ranges, sorted, neither overlapping nor adjacent.
template <size_t N>
class RangeSet {
  public:
    /// Adds `first` … `last`; kENOMEM, and nothing is changed, when that needs more than N ranges.
    Result<> add(uint64_t first, uint64_t last) {
        // Those that touch the new one become part of it.
        size_t from = 0;
        while (from < count_ && before(ranges_[from].last, first)) ++from;
        size_t to = from;
        for (; to < count_ && !before(last, ranges_[to].first); ++to) {
            if (ranges_[to].first < first) first = ranges_[to].first;
            if (ranges_[to].last > last) last = ranges_[to].last;
        }
        if (from == to && count_ == N) return Errno::kENOMEM;
        replace(from, to, {first, last});
        return {};
    }

    /// Takes `first` … `last` away; kENOMEM as for add(): a range that is cut becomes two.
    Result<> remove(uint64_t first, uint64_t last) {
        for (size_t i = 0; i < count_;) {
            const Range r = ranges_[i];
            if (r.last < first || r.first > last) {
                ++i;
                continue;
            }
            const bool left = r.first<first, right = r.last> last;
            if (left && right) {
                if (count_ == N) return Errno::kENOMEM;
                replace(i, i + 1, {r.first, first - 1});
                replace(i + 1, i + 1, {last + 1, r.last});
                return {};
            }
            if (left)
                ranges_[i++].last = first - 1;
            else if (right)
                ranges_[i++].first = last + 1;
            else
                erase(i);
        }
        return {};
    }

    bool contains(uint64_t first, uint64_t last) const {
        for (size_t i = 0; i < count_; ++i)
            if (ranges_[i].first <= first && last <= ranges_[i].last) return true;
        return false;
    }
    bool overlaps(uint64_t first, uint64_t last) const {
        for (size_t i = 0; i < count_; ++i)
            if (ranges_[i].first <= last && first <= ranges_[i].last) return true;
        return false;
    }
    size_t size() const { return count_; }

  private:
    struct Range {
        uint64_t first, last;
    };

    /// `a` ends before `b` begins, with a gap between them.
    static bool before(uint64_t a, uint64_t b) { return a < b && b - a > 1; }

    /// Puts one range in the place of those from `from` to before `to`.
    void replace(size_t from, size_t to, Range range) {
        if (from == to) {
            for (size_t i = count_++; i > from; --i) ranges_[i] = ranges_[i - 1];
        } else {
            while (to - from > 1) erase(--to);
        }
        ranges_[from] = range;
    }
    void erase(size_t at) {
        --count_;
        for (size_t i = at; i < count_; ++i) ranges_[i] = ranges_[i + 1];
    }

    Range ranges_[N] = {};
    size_t count_ = 0;
};

}  // namespace base
