// A lock that many may share, or one have alone.
//
// Sharing costs one locked addition and one subtraction, and never waits for others who share.
// Each sharer counts in its stripe of the lock, a cache line that those with other stripes do not
// touch. Who wants it alone queues, in the order of arrival, with all who found it taken, and then
// waits for each stripe: neither side starves.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>

#include "base/lock.hpp"

namespace base {

/// Which stripe of any SharedSpinLock a sharer counts in. Several may have the same; it is fast if
/// those who share at the same time have different ones.
class LockStripe {
  public:
    static constexpr uint32_t kMost = 8;
    static constexpr uint32_t kBytes = 64;  ///< a cache line

    /// That of sharer number `sharer`: the low bits of the number, as many as tell stripes in use.
    static LockStripe of(uint32_t sharer) { return LockStripe(sharer * kBytes & last_); }
    static constexpr LockStripe first() { return LockStripe(0); }
    /// How many sharers there may be, from now on: so many stripes of each lock are in use, up to
    /// kMost. Until then it is one, sharer 0's. To be called once, while nobody else can share a
    /// lock or has a stripe, and the caller has no lock.
    static void provide_for(uint32_t sharers) {
        last_ = (std::bit_ceil(std::min(sharers, kMost)) - 1) * kBytes;
    }

    friend bool operator==(LockStripe, LockStripe) = default;

  private:
    template <uint32_t>
    friend class StripedLock;
    explicit constexpr LockStripe(uint32_t offset) : offset_(offset) {}

    static constinit inline uint32_t last_ = 0;  ///< the offset of the last that is in use
    uint32_t offset_;                            ///< in bytes, from the lock's first stripe
};

/// With so many stripes of its own, 1 or kMost; all that share the one should have the first.
template <uint32_t kStripes>
class XEN_TSA(capability("shared_mutex")) StripedLock {
    static_assert(kStripes == 1 || kStripes == LockStripe::kMost);
    using Users = std::atomic<uint32_t>;  ///< how many share it by one stripe, and kAlone

  public:
    /// What lock_shared() gives and unlock_shared() wants back; or none.
    class Share {
      public:
        constexpr Share() = default;
        explicit operator bool() const { return users_; }

      private:
        friend class StripedLock;
        explicit Share(Users* users) : users_(users) {}
        Users* users_ = nullptr;
    };

    constexpr explicit StripedLock(uint8_t rank) : first_{.queue = SpinLock(rank)} {}
    StripedLock(const StripedLock&) = delete;
    StripedLock& operator=(const StripedLock&) = delete;

    // The analysis cannot know that whoever has it alone keeps the queue.
    void lock() XEN_TSA(acquire_capability()) XEN_TSA(no_thread_safety_analysis) {
        first_.queue.lock();
        // Each is told before one is waited for, so that all leave at the same time.
        for_each_stripe([](Users& users) { users.fetch_or(kAlone, std::memory_order_acquire); });
        for_each_stripe([](Users& users) {
            if (users.load(std::memory_order_acquire) != kAlone) [[unlikely]]
                wait_for_last(users);
        });
    }
    void unlock() XEN_TSA(release_capability()) XEN_TSA(no_thread_safety_analysis) {
        // Not a plain store: others may just be finding out that it is taken (wait_shared).
        for_each_stripe([](Users& users) { users.fetch_and(~kAlone, std::memory_order_release); });
        first_.queue.unlock();
    }
    /// For who has it alone: whether others wait, to share it or to have it alone.
    bool is_wanted() const { return first_.queue.is_wanted(); }
    /// For who shares it: whether others wait to have it alone, behind whom all further ones queue.
    bool is_wanted_alone() const { return first_.queue.locked(); }
    [[nodiscard]] Share lock_shared(LockStripe stripe) XEN_TSA(acquire_shared_capability()) {
        Users& users = users_of(stripe.offset_);
        // By the sum's sign, kAlone, which the addition tells by itself.
        if (static_cast<int32_t>(users.fetch_add(1, std::memory_order_acquire) + 1) < 0)
            [[unlikely]]
            wait_shared(users);
        if constexpr (kCheckLockOrder) note_lock_taken(first_.queue.rank());
        return Share(&users);
    }
    void unlock_shared(Share share) XEN_TSA(release_shared_capability()) {
        if constexpr (kCheckLockOrder) note_lock_dropped(first_.queue.rank());
        share.users_->fetch_sub(1, std::memory_order_release);
    }

  private:
    static constexpr uint32_t kAlone = uint32_t{1} << 31;

    struct alignas(LockStripe::kBytes) Stripe {
        Users users{0};
    };
    /// With what is left of the cache line put to use: who queues changes the users as well.
    struct alignas(LockStripe::kBytes) FirstStripe {
        Users users{0};
        SpinLock queue;  ///< held by who has it alone, or waits for that
    };
    static_assert(sizeof(FirstStripe) == LockStripe::kBytes && offsetof(FirstStripe, users) == 0);

    Users& users_of(uint32_t offset) {
        return *reinterpret_cast<Users*>(reinterpret_cast<char*>(this) + offset);
    }
    template <class Fn>
    void for_each_stripe(Fn fn) {
        for (uint32_t at = kStripes == 1 ? 0 : LockStripe::last_;; at -= LockStripe::kBytes) {
            fn(users_of(at));
            if (at == 0) return;
        }
    }

    /// Somebody has it alone, or is about to: behind them in the queue, nobody has.
    [[gnu::noinline]] void wait_shared(Users& users) {
        users.fetch_sub(1, std::memory_order_relaxed);
        first_.queue.lock();
        users.fetch_add(1, std::memory_order_acquire);
        first_.queue.unlock();
    }

    [[gnu::noinline, gnu::cold]] static void wait_for_last(Users& users) {
        wait_until([&] { return users.load(std::memory_order_acquire) == kAlone; });
    }

    FirstStripe first_;
    Stripe others_[kStripes - 1];
};

using SharedSpinLock = StripedLock<LockStripe::kMost>;
using AloneGuard = LockGuard<SharedSpinLock>;

class XEN_TSA(scoped_lockable) SharedGuard {
  public:
    SharedGuard(SharedSpinLock& lock, LockStripe stripe) XEN_TSA(acquire_shared_capability(lock))
        : lock_(lock), share_(lock.lock_shared(stripe)) {}
    ~SharedGuard() XEN_TSA(release_capability()) { lock_.unlock_shared(share_); }
    SharedGuard(const SharedGuard&) = delete;
    SharedGuard& operator=(const SharedGuard&) = delete;

  private:
    SharedSpinLock& lock_;
    SharedSpinLock::Share share_;
};

}  // namespace base
