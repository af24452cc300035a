// The frame allocator against a simple model: who has which frame.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>

#include "fake/memory_machine.hpp"
#include "hv/memory/low_memory.hpp"

namespace hv {

// Domain's references, without the rest of hv/domain.
bool Domain::get() {
    return ++references, true;
}
void Domain::put() {
    --references;
}

namespace memory {
namespace {

class AllocatorTest : public testing::Test {
  protected:
    void add(uint64_t start, uint64_t end) {
        describe_ram({start, end});
        add_free_range({start, end});
    }
    /// Two ranges as a PC has them: below and above 1 MiB; and one above a hole.
    void small_pc() {
        add(0, 0x9f000);
        add(0x100000, 256 * kMiB);
    }

    Domain* make_domain(uint16_t id, uint64_t max) {
        auto domain = std::make_unique<Domain>();
        domain->id = DomId{id};
        domain->pages.unlocked().max = max;
        EXPECT_TRUE(domain_table::enter(*domain));
        domains_.push_back(std::move(domain));
        return domains_.back().get();
    }
    void TearDown() override {
        for (auto& domain : domains_) domain_table::leave(*domain);
    }
    static bool is_zero(Mfn mfn) {
        const char* p = arch::mfn_to_virt<char>(mfn);
        return std::all_of(p, p + kPageSize, [](char c) { return c == 0; });
    }
    static void dirty(Mfn mfn, unsigned order = 0) {
        memset(arch::mfn_to_virt<char>(mfn), 0x5a, kPageSize << order);
    }

    MemoryMachine machine_;
    std::vector<std::unique_ptr<Domain>> domains_;
};

/// 64 MiB at node 0, 64 at node 1, and 32 more at node 0.
class NodeAllocatorTest : public AllocatorTest {
  protected:
    void SetUp() override {
        const nodes::Stretch stretches[] = {
            {Mfn{0}, frame(96), 0}, {frame(96), frame(160), 1}, {frame(160), frame(192), 0}};
        ASSERT_TRUE(nodes::describe(2, stretches));
        add(32 * kMiB, 192 * kMiB);
    }
    void TearDown() override {
        AllocatorTest::TearDown();
        ASSERT_TRUE(nodes::describe(1, {}));
    }
    static Mfn frame(uint64_t mib) { return Mfn{mib * kMiB >> kPageShift}; }
    /// All that can be had so, as blocks of 1 MiB, is freed again; how many were at each node.
    std::pair<int, int> take_all(const AllocOptions& options) {
        std::vector<Mfn> blocks;
        while (auto block = alloc_frames(8, options)) blocks.push_back(*block);
        std::pair<int, int> counts;
        for (Mfn block : blocks) ++(nodes::of(block) ? counts.second : counts.first);
        for (Mfn block : blocks) free_frames(block, 8);
        return counts;
    }
};

TEST_F(NodeAllocatorTest, AWishedNodeComesFirstAndAnExactOneAlone) {
    const auto both = take_all({});
    EXPECT_GT(both.first, 80);
    EXPECT_GT(both.second, 50);
    EXPECT_EQ(take_all({.node = 1, .exact_node = true}), std::pair(0, both.second));
    EXPECT_EQ(take_all({.node = 0, .exact_node = true}), std::pair(both.first, 0));
    EXPECT_EQ(take_all({.node = 1}), both);
    EXPECT_EQ(take_all({.node = 5, .exact_node = true}), std::pair(0, 0));
    for (const Node node : {0, 1}) {
        const Mfn mfn = *alloc_frames(0, {.node = node});
        EXPECT_EQ(nodes::of(mfn), node);
        free_frames(mfn, 0);
    }
}

TEST_F(NodeAllocatorTest, NearNodesComeBeforeOthers) {
    NodeMask near;
    near.set(1);
    const Mfn mfn = *alloc_frames(0, {.node = 7, .near = near});
    EXPECT_EQ(nodes::of(mfn), 1);
    free_frames(mfn, 0);
    EXPECT_GT(take_all({.near = near}).first, 80);
}

TEST_F(NodeAllocatorTest, BlocksDoNotCrossNodes) {
    // Everything is taken frame by frame and freed: what merges again is aligned to 32 MiB, but the
    // borders are 32 MiB apart, so nothing larger may come about.
    std::vector<Mfn> frames;
    while (auto mfn = alloc_frames(0)) frames.push_back(*mfn);
    for (Mfn mfn : frames) free_frames(mfn, 0);
    while (scrub_some()) {
    }
    EXPECT_EQ(free_pages(), frames.size());
    EXPECT_EQ(free_pages_of(0) + free_pages_of(1), free_pages());
    for (unsigned order = 13; order <= 15; ++order) {
        auto block = alloc_frames(order);
        if (!block) continue;
        EXPECT_EQ(nodes::of(*block), nodes::of(*block + ((uint64_t{1} << order) - 1)));
        free_frames(*block, order);
    }
}

TEST_F(NodeAllocatorTest, ADomainsMemoryComesFromItsNodesInTurn) {
    Domain* domain = make_domain(1, 1000);
    const auto where = [&](AllocOptions options = {}) {
        return nodes::of(*alloc_domain_frames(*domain, 0, options));
    };
    const Node first = where();
    EXPECT_NE(where(), first);
    EXPECT_EQ(where(), first);
    domain->pages.unlocked().near_nodes = NodeMask::single(1);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(where(), 1);
    EXPECT_EQ(where({.node = 0}), 0);
    domain->pages.unlocked().near_nodes = NodeMask::single(9);  // of none that is there
    EXPECT_TRUE(alloc_domain_frames(*domain, 0));
    Mfn cursor{0};
    domain->dying.store(Dying::kDying);
    while (*relinquish_frames(*domain, cursor)) {
    }
    EXPECT_EQ(free_pages_of(0) + free_pages_of(1), free_pages());
}

TEST(LowMemory, IsToldOnceForEachHalf) {
    LowMemoryRule rule;
    EXPECT_FALSE(rule.tell(0));  // never, unless it is set
    rule.set(1000);
    EXPECT_EQ(rule.threshold(), 512u);
    EXPECT_FALSE(rule.tell(513));
    EXPECT_TRUE(rule.tell(512));
    EXPECT_FALSE(rule.tell(511));
    EXPECT_FALSE(rule.tell(1023));
    EXPECT_FALSE(rule.tell(500));  // it was not twice as much in between
    EXPECT_TRUE(rule.tell(256));
    EXPECT_TRUE(rule.tell(100));
    EXPECT_FALSE(rule.tell(90));
    EXPECT_EQ(rule.threshold(), 64u);
    for (unsigned i = 0; i < 20; ++i) EXPECT_FALSE(rule.tell(100000));
    EXPECT_EQ(rule.threshold(), 512u);
    EXPECT_TRUE(rule.tell(512));
    rule.set(1);
    EXPECT_TRUE(rule.tell(0));
}

TEST_F(AllocatorTest, NothingIsFreeBeforeMemoryIsAdded) {
    EXPECT_EQ(alloc_frames(0).error(), Errno::kENOMEM);
    EXPECT_EQ(free_pages(), 0u);
}

TEST_F(AllocatorTest, CountsRamAndWhatItSetsAside) {
    small_pc();
    EXPECT_EQ(total_pages(), 0x9fu + 255 * 256);
    EXPECT_EQ(max_page(), Mfn{256 * 256});
    const uint64_t kept = total_pages() - free_pages();
    EXPECT_LE(kept * kPageSize, total_pages() * 26 + 6 * kMiB);
}

TEST_F(AllocatorTest, BootTouchesNoPageStruct) {
    small_pc();
    EXPECT_TRUE(machine_.table_frames.empty());
    EXPECT_EQ(page_info(Mfn{0x1000}), nullptr);
}

TEST_F(AllocatorTest, FirstAllocationBacksOneSectionAndDoesNotChangeTheCount) {
    small_pc();
    const uint64_t before = free_pages();
    const Mfn mfn = *alloc_frames(0);
    EXPECT_EQ(free_pages(), before - 1);
    EXPECT_NE(page_info(mfn), nullptr);
    EXPECT_EQ(mfn_of(*page_info(mfn)), mfn);
    EXPECT_EQ(page_info(Mfn{0x1000}), nullptr) << "another section";
    EXPECT_EQ(page_info(Mfn{~uint64_t{0}}), nullptr);
    free_frames(mfn, 0);
    EXPECT_EQ(free_pages(), before);
}

TEST_F(AllocatorTest, HandsOutEveryFrameOnceAndNoneOfItsOwn) {
    small_pc();
    const uint64_t free = free_pages();
    std::set<uint64_t> seen;
    while (auto mfn = alloc_frames(0)) EXPECT_TRUE(seen.insert(mfn->raw()).second);
    EXPECT_EQ(seen.size(), free);
    EXPECT_EQ(free_pages(), 0u);
    EXPECT_FALSE(seen.contains(0));
    for (uint64_t taken : machine_.table_frames) EXPECT_FALSE(seen.contains(taken));
    for (uint64_t mfn : seen) EXPECT_TRUE(mfn < 0x9f || (mfn >= 0x100 && mfn < 256 * 256));
}

TEST_F(AllocatorTest, BlocksAreAlignedAndBelowTheirLimit) {
    add(0x100000, 5 * kGiB);
    const Mfn high = *alloc_frames(9);
    EXPECT_GE(high.raw(), uint64_t{1} << 20) << "high memory first";
    EXPECT_EQ(high.raw() % 512, 0u);
    const Mfn low = *alloc_frames(4, {.address_bits = 32});
    EXPECT_LT(low.raw() + 16, (uint64_t{1} << 20) + 1);
    const Mfn lowest = *alloc_frames(0, {.address_bits = 24});
    EXPECT_LT(lowest.raw(), uint64_t{1} << 12);
    EXPECT_EQ(alloc_frames(0, {.address_bits = 12}).error(), Errno::kENOMEM);
    EXPECT_EQ(alloc_frames(kMaxOrder + 1).error(), Errno::kENOMEM);
}

TEST_F(AllocatorTest, LargestBlockSpansSections) {
    add(0x100000, 4 * kGiB);
    const Mfn big = *alloc_frames(kMaxOrder);
    EXPECT_EQ(big.raw() % (uint64_t{1} << kMaxOrder), 0u);
}

TEST_F(AllocatorTest, WhatIsFreedIsZeroAndFlushedBeforeReuse) {
    add(32 * kMiB, 33 * kMiB);
    std::vector<Mfn> all;
    while (auto mfn = alloc_frames(0)) all.push_back(*mfn);
    machine_.flushes = 0;
    dirty(all[3]);
    free_frames(all[3], 0);
    EXPECT_EQ(machine_.flushes, 0u);
    const Mfn again = *alloc_frames(0, {.zeroed = false});
    EXPECT_EQ(again, all[3]);
    EXPECT_EQ(machine_.flushes, 1u);
    EXPECT_TRUE(is_zero(again));
    // A flush that has happened since anyway is enough.
    free_frames(again, 0);
    arch::flush_tlb({});
    machine_.flushes = 0;
    ASSERT_TRUE(alloc_frames(0));
    EXPECT_EQ(machine_.flushes, 0u);
}

TEST_F(AllocatorTest, BootMemoryIsZeroedUnlessTheCallerOverwritesIt) {
    add(32 * kMiB, 33 * kMiB);
    memset(machine_.ram + 32 * kMiB, 0x77, kMiB);
    machine_.cleared = 0;
    ASSERT_TRUE(alloc_frames(0, {.zeroed = false}));
    EXPECT_EQ(machine_.cleared, 0u);
    EXPECT_TRUE(is_zero(*alloc_frames(0)));
}

TEST_F(AllocatorTest, IdleScrubbingLeavesNothingToDo) {
    add(32 * kMiB, 40 * kMiB);
    std::vector<Mfn> all;
    while (auto mfn = alloc_frames(0)) all.push_back(*mfn);
    for (Mfn mfn : all) dirty(mfn), free_frames(mfn, 0);
    machine_.cleared = 0;
    unsigned rounds = 0;
    while (scrub_some()) ASSERT_LT(++rounds, 10000u);
    EXPECT_EQ(machine_.cleared, all.size());
    machine_.cleared = 0;
    machine_.flushes = 0;
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(is_zero(*alloc_frames(0)));
    EXPECT_EQ(machine_.cleared, 0u);
    EXPECT_EQ(machine_.flushes, 0u) << "scrubbing has flushed";
}

TEST_F(AllocatorTest, ScrubbingWaitsRatherThanFlushForEachFrame) {
    add(32 * kMiB, 40 * kMiB);
    auto domain = make_domain(3, 2000);
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(alloc_domain_frames(*domain, 0));
    machine_.flushes = 0;
    machine_.tick = kMicrosecond;
    Mfn cursor{0};
    do {  // a CPU idles while another tears a domain down
        machine_.preempt_after = 1;
        while (scrub_some()) {
        }
    } while (*relinquish_frames(*domain, cursor));
    EXPECT_LE(machine_.flushes, 1u);
    machine_.tick = kSecond;
    while (scrub_some()) {
    }
    machine_.flushes = 0;
    ASSERT_TRUE(alloc_frames(9));
    EXPECT_EQ(machine_.flushes, 0u);
}

TEST_F(AllocatorTest, FailedBackingIsAnErrorAndCanBeRepeated) {
    add(32 * kMiB, 64 * kMiB);
    const uint64_t free = free_pages();
    machine_.refuse_backing = 1;
    EXPECT_EQ(alloc_frames(0).error(), Errno::kENOMEM);
    EXPECT_EQ(free_pages(), free);
    EXPECT_TRUE(alloc_frames(0));
}

TEST_F(AllocatorTest, MemoryAddedLaterJoinsPopulatedSections) {
    add(32 * kMiB, 48 * kMiB);
    while (alloc_frames(0)) {
    }
    add(48 * kMiB, 50 * kMiB);  // a module that is no longer needed
    EXPECT_EQ(free_pages(), 512u);
    EXPECT_EQ(*alloc_frames(9), Mfn{48 * 256});
}

TEST_F(AllocatorTest, RandomUseAgainstAModel) {
    small_pc();
    const uint64_t free_at_start = free_pages();
    std::mt19937 random(1);
    std::map<uint64_t, unsigned> mine;  // first frame, order
    uint64_t in_use = 0;
    for (int step = 0; step < 60000; ++step) {
        if (random() % 2 || mine.empty()) {
            const unsigned order = random() % 12 ? random() % 4 : random() % 11;
            auto mfn = alloc_frames(order, {.zeroed = random() % 4 != 0});
            if (!mfn) continue;
            const uint64_t count = uint64_t{1} << order;
            ASSERT_EQ(mfn->raw() % count, 0u);
            auto after = mine.lower_bound(mfn->raw());
            if (after != mine.end()) {
                ASSERT_LE(mfn->raw() + count, after->first);
            }
            if (after != mine.begin()) {
                auto before = std::prev(after);
                ASSERT_LE(before->first + (uint64_t{1} << before->second), mfn->raw());
            }
            mine[mfn->raw()] = order;
            in_use += count;
            memset(arch::mfn_to_virt<char>(*mfn), 0x33, 64);
        } else {
            auto victim = std::next(
                mine.begin(), static_cast<long>(random() % std::min<size_t>(mine.size(), 50)));
            // In parts of any smaller order, too.
            const unsigned part = random() % (victim->second + 1);
            const uint64_t count = uint64_t{1} << victim->second;
            for (uint64_t i = 0; i < count; i += uint64_t{1} << part)
                free_frames(Mfn{victim->first + i}, part);
            in_use -= count;
            mine.erase(victim);
        }
        if (random() % 16 == 0) scrub_some();
        ASSERT_EQ(free_pages(), free_at_start - in_use);
    }
    for (auto [first, order] : mine) free_frames(Mfn{first}, order);
    EXPECT_EQ(free_pages(), free_at_start);
    // It has all merged again: everything can be had as it could at first.
    EXPECT_TRUE(alloc_frames(14));
}

// ---- frames of domains ----

TEST_F(AllocatorTest, DomainFramesAreOwnedCountedAndLimited) {
    small_pc();
    auto domain = make_domain(3, 5);
    const uint64_t free = free_pages();
    const Mfn mfn = *alloc_domain_frames(*domain, 2);
    EXPECT_EQ(domain->pages.unlocked().total, 4u);
    EXPECT_EQ(domain->references, 2u);
    for (int i = 0; i < 4; ++i) {
        PageInfo* page = page_info(mfn + i);
        EXPECT_TRUE(page->owned_by(DomId{3}));
        EXPECT_TRUE(page->has(PageInfo::kAllocated));
        EXPECT_EQ(page->ref_count(), 1u);
        EXPECT_TRUE(is_zero(mfn + i));
    }
    EXPECT_EQ(alloc_domain_frames(*domain, 1).error(), Errno::kENOMEM);
    EXPECT_EQ(free_pages(), free - 4);
    EXPECT_FALSE(page_info(mfn)->get(DomId{4}));
    Mfn cursor{0};
    EXPECT_FALSE(*relinquish_frames(*domain, cursor));
    EXPECT_EQ(free_pages(), free);
    EXPECT_EQ(domain->references, 1u);
}

TEST_F(AllocatorTest, MappedFrameOutlivesTheReservation) {
    small_pc();
    auto domain = make_domain(3, 5);
    const uint64_t free = free_pages();
    const Mfn mfn = *alloc_domain_frames(*domain, 0);
    arch::set_m2p(mfn, 17);
    auto mapping = std::make_unique<PageRef>(PageRef::take(mfn, DomId{3}).value());
    Mfn cursor{0};
    EXPECT_FALSE(*relinquish_frames(*domain, cursor));
    EXPECT_EQ(free_pages(), free - 1);
    EXPECT_EQ(domain->pages.unlocked().total, 1u);
    EXPECT_EQ(domain->references, 2u) << "a zombie";
    mapping.reset();
    EXPECT_EQ(free_pages(), free);
    EXPECT_EQ(domain->references, 1u);
    EXPECT_EQ(arch::get_m2p(mfn), arch::kInvalidM2p);
}

TEST_F(AllocatorTest, DyingDomainGetsNothing) {
    small_pc();
    auto domain = make_domain(3, 5);
    domain->dying = Dying::kDying;
    const uint64_t free = free_pages();
    EXPECT_EQ(alloc_domain_frames(*domain, 0).error(), Errno::kEINVAL);
    const Mfn mfn = *alloc_frames(0);
    EXPECT_EQ(assign_page(*page_info(mfn), *domain).error(), Errno::kEINVAL);
    free_frames(mfn, 0);
    EXPECT_EQ(free_pages(), free);
}

TEST_F(AllocatorTest, RelinquishingIsInterruptedAndResumed) {
    small_pc();
    auto domain = make_domain(3, 100000);
    auto other = make_domain(4, 100000);
    const uint64_t free = free_pages();
    for (int i = 0; i < 3000; ++i) {
        ASSERT_TRUE(alloc_domain_frames(*domain, 0));
        ASSERT_TRUE(alloc_domain_frames(*other, 0));
    }
    Mfn cursor{0};
    unsigned rounds = 0;
    for (;;) {
        machine_.preempt_after = 1;
        if (!*relinquish_frames(*domain, cursor)) break;
        ++rounds;
    }
    EXPECT_GT(rounds, 3u);
    EXPECT_EQ(domain->pages.unlocked().total, 0u);
    EXPECT_EQ(other->pages.unlocked().total, 3000u);
    EXPECT_EQ(free_pages(), free - 3000);
}

TEST_F(AllocatorTest, SharedFrameBelongsToNobodysAccount) {
    small_pc();
    auto domain = make_domain(3, 0);
    const uint64_t free = free_pages();
    const Mfn mfn = *alloc_frames(0);
    share_frame(mfn, *domain, Access::kReadWrite);
    EXPECT_EQ(domain->pages.unlocked().total, 0u);
    EXPECT_EQ(domain->references, 1u);
    {
        auto mapping = WritablePageRef::take(mfn, DomId{3});
        ASSERT_TRUE(mapping);
        EXPECT_EQ(unshare_frame(mfn, *domain).error(), Errno::kEBUSY);
    }
    EXPECT_TRUE(unshare_frame(mfn, *domain));
    share_frame(mfn, *domain, Access::kReadOnly);
    EXPECT_FALSE(WritablePageRef::take(mfn, DomId{3}));
    auto mapping = std::make_unique<PageRef>(PageRef::take(mfn, DomId{3}).value());
    retire_shared_frame(mfn, *domain);
    EXPECT_EQ(domain->pages.unlocked().shared_frames, 0u);
    EXPECT_FALSE(PageRef::take(mfn, DomId{3})) << "not even by a later domain of that id";
    EXPECT_EQ(free_pages(), free - 1);
    mapping.reset();
    EXPECT_EQ(free_pages(), free);
}

TEST_F(AllocatorTest, StolenFrameIsNobodys) {
    small_pc();
    auto domain = make_domain(3, 2);
    auto other = make_domain(4, 2);
    const Mfn mfn = *alloc_domain_frames(*domain, 0);
    EXPECT_EQ(steal_page(mfn, *other).error(), Errno::kEINVAL);
    EXPECT_EQ(steal_page(Mfn{~uint64_t{0}}, *domain).error(), Errno::kEINVAL);
    {
        auto mapping = PageRef::take(mfn, DomId{3});
        EXPECT_EQ(steal_page(mfn, *domain).error(), Errno::kEBUSY);
    }
    PageInfo* page = *steal_page(mfn, *domain);
    EXPECT_EQ(domain->pages.unlocked().total, 0u);
    EXPECT_FALSE(page->get(DomId{3}));
    EXPECT_TRUE(assign_page(*page, *other));
    EXPECT_TRUE(page->owned_by(DomId{4}));
    EXPECT_EQ(other->pages.unlocked().total, 1u);
}

TEST_F(AllocatorTest, ClaimsSetMemoryAside) {
    add(32 * kMiB, 64 * kMiB);
    const uint64_t free = free_pages();
    auto domain = make_domain(3, free);
    auto other = make_domain(4, free);
    EXPECT_EQ(set_claim(*domain, free + 1).error(), Errno::kEINVAL) << "beyond its maximum";
    domain->pages.unlocked().max = free + 1;
    EXPECT_EQ(set_claim(*domain, free + 1).error(), Errno::kENOMEM);
    EXPECT_TRUE(set_claim(*domain, free - 1));
    EXPECT_EQ(set_claim(*domain, free - 1).error(), Errno::kEINVAL) << "one at a time";
    EXPECT_EQ(outstanding_claims(), free - 1);
    EXPECT_EQ(free_pages(), free);
    EXPECT_TRUE(alloc_domain_frames(*other, 0));
    EXPECT_EQ(alloc_domain_frames(*other, 0).error(), Errno::kENOMEM);
    EXPECT_EQ(alloc_frames(0).error(), Errno::kENOMEM);
    EXPECT_TRUE(alloc_domain_frames(*domain, 3));
    EXPECT_EQ(outstanding_claims(), free - 9);
    EXPECT_TRUE(set_claim(*domain, 0));
    EXPECT_EQ(outstanding_claims(), 0u);
    EXPECT_TRUE(alloc_frames(0));
}

TEST_F(AllocatorTest, EveryFailingBackingLeavesTheCountsRight) {
    add(32 * kMiB, 160 * kMiB);
    auto domain = make_domain(3, 100000);
    const uint64_t free = free_pages();
    for (int i = 0; i < 200; ++i) {
        machine_.refuse_backing = i % 3;
        const uint64_t before = free_pages();
        auto mfn = alloc_domain_frames(*domain, 8);
        EXPECT_EQ(free_pages(), before - (mfn ? 256 : 0));
    }
    Mfn cursor{0};
    (void)*relinquish_frames(*domain, cursor);
    EXPECT_EQ(free_pages(), free);
}

}  // namespace
}  // namespace memory
}  // namespace hv
