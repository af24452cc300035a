// The lock that is shared by stripes, with real threads: who excludes whom, in which order, and
// that nobody starves. Also worth running under ThreadSanitizer.
#include "base/shared_lock.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace {

thread_local std::atomic<unsigned>* turns_of_thread = nullptr;
thread_local std::vector<uint8_t> ranks_of_thread;

}  // namespace

namespace base {

void spin_wait() {
    if (turns_of_thread) ++*turns_of_thread;
    std::this_thread::yield();
}
void note_lock_taken(uint8_t rank) {
    ranks_of_thread.push_back(rank);
}
void note_lock_dropped(uint8_t rank) {
    auto& ranks = ranks_of_thread;
    const auto at = std::find(ranks.begin(), ranks.end(), rank);
    ASSERT_NE(at, ranks.end());
    ranks.erase(at);
}

namespace {

constexpr uint8_t kRank = 40;

/// A thread that takes a lock, says so, and keeps it until it is told to go.
class Taker {
  public:
    explicit Taker(SharedSpinLock& lock) {
        start([this, &lock] {
            AloneGuard guard(lock);
            stay();
        });
    }
    Taker(SharedSpinLock& lock, uint32_t sharer) {
        start([this, &lock, sharer] {
            SharedGuard guard(lock, LockStripe::of(sharer));
            stay();
        });
    }
    ~Taker() {
        go();
        thread_.join();
    }
    /// Whether it has the lock, once it has that or is seen to wait, from now on.
    bool has_it() {
        const unsigned before = turns_;
        while (!has_ && turns_ - before < 3) std::this_thread::yield();
        return has_;
    }
    void go() { may_go_ = true; }
    void wait_for_it() {
        while (!has_) std::this_thread::yield();
    }

  private:
    void start(std::function<void()> take) {
        thread_ = std::thread([this, take] {
            turns_of_thread = &turns_;
            take();
            EXPECT_TRUE(ranks_of_thread.empty());
        });
    }
    void stay() {
        EXPECT_EQ(ranks_of_thread, std::vector<uint8_t>{kRank});
        has_ = true;
        while (!may_go_) std::this_thread::yield();
    }

    std::atomic<unsigned> turns_{0};  // of waiting
    std::atomic<bool> has_{false}, may_go_{false};
    std::thread thread_;
};

class SharedLockTest : public testing::TestWithParam<uint32_t> {
  protected:
    SharedLockTest() { LockStripe::provide_for(GetParam()); }
    ~SharedLockTest() override { LockStripe::provide_for(1); }

    // One thread may share it twice, which the analysis of locks does not expect.
    SharedSpinLock::Share share(uint32_t sharer) XEN_TSA(no_thread_safety_analysis) {
        return lock_.lock_shared(LockStripe::of(sharer));
    }
    void drop(SharedSpinLock::Share share) XEN_TSA(no_thread_safety_analysis) {
        lock_.unlock_shared(share);
    }
    /// Whether each stripe's count, at the beginning of a line, is 0. (A mark that was forgotten
    /// only sends sharers by way of the queue, which nobody would notice.)
    bool is_unmarked() const {
        for (unsigned line = 0; line < LockStripe::kMost; ++line) {
            uint32_t users;
            memcpy(&users, reinterpret_cast<const char*>(&lock_) + line * LockStripe::kBytes,
                   sizeof users);
            if (users) return false;
        }
        return true;
    }

    SharedSpinLock lock_{kRank};
};

INSTANTIATE_TEST_SUITE_P(Sharers, SharedLockTest, testing::Values(1, 2, 3, 8, 64));

TEST(LockStripeTest, AsManyAsSharersNeed) {
    const auto in_use = [](uint32_t sharers) {
        LockStripe::provide_for(sharers);
        std::vector<LockStripe> seen;
        for (uint32_t n = 0; n < 64; ++n)
            if (std::find(seen.begin(), seen.end(), LockStripe::of(n)) == seen.end())
                seen.push_back(LockStripe::of(n));
        EXPECT_EQ(LockStripe::of(seen.size()), LockStripe::of(0));
        LockStripe::provide_for(1);
        EXPECT_EQ(seen.front(), LockStripe::of(0)) << "the first's never changes";
        return seen.size();
    };
    EXPECT_EQ(in_use(1), 1u);
    EXPECT_EQ(in_use(2), 2u);
    EXPECT_EQ(in_use(3), 4u);
    EXPECT_EQ(in_use(8), 8u);
    EXPECT_EQ(in_use(64), 8u);
    static_assert(!std::is_constructible_v<LockStripe, uint32_t>);
    static_assert(alignof(SharedSpinLock) == 64 && sizeof(SharedSpinLock) == 8 * 64);
}

TEST_P(SharedLockTest, SharersDoNotWaitForEachOther) {
    SharedGuard mine(lock_, LockStripe::of(0));
    for (uint32_t n = 0; n < 16; ++n) {
        Taker other(lock_, n);
        EXPECT_TRUE(other.has_it()) << n;
    }
}

TEST_P(SharedLockTest, WhoWantsItAloneWaitsForEachSharer) {
    for (uint32_t n = 0; n < GetParam(); ++n) {
        const auto mine = share(n);
        const auto second = share(n);
        Taker writer(lock_);
        EXPECT_FALSE(writer.has_it()) << n;
        drop(mine);
        EXPECT_FALSE(writer.has_it()) << n;
        drop(second);
        writer.wait_for_it();
    }
}

TEST_P(SharedLockTest, WhoHasItAloneSeesThatOthersWait) {
    std::unique_ptr<Taker> sharer, writer;
    {
        AloneGuard mine(lock_);
        EXPECT_FALSE(lock_.is_wanted());
        sharer = std::make_unique<Taker>(lock_, 1);
        EXPECT_FALSE(sharer->has_it());
        EXPECT_TRUE(lock_.is_wanted());
    }
    sharer->wait_for_it();
    sharer->go();
    {
        AloneGuard mine(lock_);
        EXPECT_FALSE(lock_.is_wanted());
        writer = std::make_unique<Taker>(lock_);
        EXPECT_FALSE(writer->has_it());
        EXPECT_TRUE(lock_.is_wanted());
    }
    writer->wait_for_it();
}

TEST_P(SharedLockTest, WhoSharesItSeesThatAnotherWantsItAlone) {
    const auto mine = share(0);
    EXPECT_FALSE(lock_.is_wanted_alone());
    {
        Taker sharer(lock_, 1);
        sharer.wait_for_it();
        EXPECT_FALSE(lock_.is_wanted_alone()) << "who shares it, too, is in nobody's way";
    }
    Taker writer(lock_);
    EXPECT_FALSE(writer.has_it());
    EXPECT_TRUE(lock_.is_wanted_alone());
    drop(mine);
    writer.wait_for_it();
}

TEST_P(SharedLockTest, OneStripeServesAll) XEN_TSA(no_thread_safety_analysis) {
    static_assert(sizeof(StripedLock<1>) == LockStripe::kBytes);
    struct {
        StripedLock<1> lock{kRank};
        uint64_t behind[8] = {};
    } both;
    const auto mine = both.lock.lock_shared(LockStripe::first());
    const auto second = both.lock.lock_shared(LockStripe::first());
    std::atomic<bool> has{false};
    std::thread writer([&] {
        both.lock.lock();
        has = true;
        both.lock.unlock();
    });
    while (!both.lock.is_wanted_alone()) std::this_thread::yield();
    both.lock.unlock_shared(mine);
    for (int i = 0; i < 100; ++i) std::this_thread::yield();
    EXPECT_FALSE(has);
    both.lock.unlock_shared(second);
    writer.join();
    EXPECT_TRUE(has);
    for (const uint64_t word : both.behind) EXPECT_EQ(word, 0u) << "it has no further stripes";
}

TEST_P(SharedLockTest, WhoHasItAloneKeepsOutEverybody) {
    for (uint32_t n = 0; n < 16; ++n) {
        std::unique_ptr<Taker> sharer, writer;
        {
            AloneGuard mine(lock_);
            sharer = std::make_unique<Taker>(lock_, n);
            EXPECT_FALSE(sharer->has_it()) << n;
            writer = std::make_unique<Taker>(lock_);
            EXPECT_FALSE(writer->has_it());
        }
        sharer->wait_for_it();
        EXPECT_FALSE(writer->has_it()) << "the sharer came first";
        sharer->go();
        writer->wait_for_it();
    }
    EXPECT_TRUE(is_unmarked());
}

TEST_P(SharedLockTest, WhoComesWhileAnotherWaitsQueuesBehind) {
    for (uint32_t n = 0; n < 16; ++n) {
        const auto mine = share(0);
        Taker first(lock_);
        EXPECT_FALSE(first.has_it());
        Taker sharer(lock_, n);
        EXPECT_FALSE(sharer.has_it()) << n << " passed who waits to have it alone";
        Taker second(lock_);
        EXPECT_FALSE(second.has_it());
        drop(mine);
        first.wait_for_it();
        EXPECT_FALSE(sharer.has_it());
        first.go();
        sharer.wait_for_it();
        EXPECT_FALSE(second.has_it());
        sharer.go();
        second.wait_for_it();
    }
}

/// Each side goes on until the other has had its turns: it never ends if either starves.
TEST_P(SharedLockTest, NobodyStarves) {
    constexpr unsigned kTurns = 2000;
    constexpr uint32_t kSharers = 3;
    int value = 0, copy = 0;  // equal unless somebody has it alone
    std::atomic<unsigned> alone{0};
    std::atomic<unsigned> shared[kSharers] = {};
    const auto done = [&] {
        for (auto& turns : shared)
            if (turns < kTurns) return false;
        return alone >= kTurns;
    };
    std::vector<std::thread> threads;
    for (int n = 0; n < 2; ++n)
        threads.emplace_back([&] {
            while (!done()) {
                AloneGuard guard(lock_);
                ++value;
                if (alone % 16 == 0) std::this_thread::yield();
                ++copy;
                ++alone;
            }
        });
    for (uint32_t n = 0; n < kSharers; ++n)
        threads.emplace_back([&, n] {
            while (!done()) {
                SharedGuard guard(lock_, LockStripe::of(n));
                EXPECT_EQ(value, copy);
                if (shared[n] % 16 == 0) std::this_thread::yield();
                EXPECT_EQ(value, copy);
                ++shared[n];
            }
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(value, copy);
    EXPECT_EQ(static_cast<unsigned>(value), alone);
    EXPECT_TRUE(is_unmarked());
}

}  // namespace
}  // namespace base
