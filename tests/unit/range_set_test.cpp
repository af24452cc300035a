// RangeSet against a set of numbers.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/range_set.hpp"

namespace base {

TEST(RangeSet, AgreesWithASetOfNumbers) {
    constexpr unsigned kNumbers = 64;
    std::mt19937 random(4);
    RangeSet<kNumbers> ranges;
    std::set<unsigned> model;
    for (unsigned step = 0; step < 20000; ++step) {
        const unsigned first = random() % kNumbers, last = first + random() % (kNumbers - first);
        const bool add = random() % 2;
        ASSERT_TRUE((add ? ranges.add(first, last) : ranges.remove(first, last)).ok());
        for (unsigned n = first; n <= last; ++n) add ? (void)model.insert(n) : (void)model.erase(n);
        for (unsigned n = 0; n < kNumbers; ++n) {
            ASSERT_EQ(ranges.contains(n, n), model.count(n) != 0);
            ASSERT_EQ(ranges.overlaps(n, n), model.count(n) != 0);
        }
        const unsigned a = random() % kNumbers, b = a + random() % (kNumbers - a);
        unsigned held = 0;
        for (unsigned n = a; n <= b; ++n) held += model.count(n);
        ASSERT_EQ(ranges.contains(a, b), held == b - a + 1);
        ASSERT_EQ(ranges.overlaps(a, b), held > 0);
    }
}

TEST(RangeSet, NeighboursBecomeOneAndFullIsTold) {
    RangeSet<2> ranges;
    ASSERT_TRUE(ranges.add(0, 9).ok());
    ASSERT_TRUE(ranges.add(10, ~uint64_t{0}).ok());
    EXPECT_EQ(ranges.size(), 1u);
    ASSERT_TRUE(ranges.remove(5, 5).ok());
    EXPECT_EQ(ranges.remove(7, 7).error(), Errno::kENOMEM);
    EXPECT_TRUE(ranges.contains(6, ~uint64_t{0}));
    EXPECT_FALSE(ranges.contains(0, 5));
}

}  // namespace base
