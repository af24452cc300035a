// A lock that many may share, or one have alone.
//
// Sharing costs one locked addition and one subtraction, and never waits for others who share. Who
// wants it alone queues, in the order of arrival, with all who found it taken: neither side
// starves.
#pragma once

#include "base/lock.hpp"

namespace base {

class XEN_TSA(capability("shared_mutex")) SharedSpinLock {
  public:
    constexpr explicit SharedSpinLock(uint8_t rank) : queue_(rank) {}
    SharedSpinLock(const SharedSpinLock&) = delete;
    SharedSpinLock& operator=(const SharedSpinLock&) = delete;

    // The analysis cannot know that whoever has it alone keeps `queue_`.
    void lock() XEN_TSA(acquire_capability()) XEN_TSA(no_thread_safety_analysis) {
        queue_.lock();
        users_.fetch_or(kAlone, std::memory_order_acquire);
        wait_until([&] { return users_.load(std::memory_order_acquire) == kAlone; });
    }
    void unlock() XEN_TSA(release_capability()) XEN_TSA(no_thread_safety_analysis) {
        // Not a plain store: others may just be finding out that it is taken (wait_shared).
        users_.fetch_and(~kAlone, std::memory_order_release);
        queue_.unlock();
    }
    void lock_shared() XEN_TSA(acquire_shared_capability()) {
        if (users_.fetch_add(1, std::memory_order_acquire) & kAlone) [[unlikely]]
            wait_shared();
        if constexpr (kCheckLockOrder) note_lock_taken(queue_.rank());
    }
    void unlock_shared() XEN_TSA(release_shared_capability()) {
        if constexpr (kCheckLockOrder) note_lock_dropped(queue_.rank());
        users_.fetch_sub(1, std::memory_order_release);
    }
    bool locked() const { return users_.load() || queue_.locked(); }

  private:
    static constexpr uint32_t kAlone = uint32_t{1} << 31;

    /// Somebody has it alone, or is about to: behind them in the queue, nobody has.
    [[gnu::noinline]] void wait_shared() {
        users_.fetch_sub(1, std::memory_order_relaxed);
        queue_.lock();
        users_.fetch_add(1, std::memory_order_acquire);
        queue_.unlock();
    }

    SpinLock queue_;                  ///< held by who has it alone, or waits for that
    std::atomic<uint32_t> users_{0};  ///< how many share it, and kAlone
};

class XEN_TSA(scoped_lockable) AloneGuard {
  public:
    explicit AloneGuard(SharedSpinLock& lock) XEN_TSA(acquire_capability(lock)) : lock_(lock) {
        lock_.lock();
    }
    ~AloneGuard() XEN_TSA(release_capability()) { lock_.unlock(); }
    AloneGuard(const AloneGuard&) = delete;
    AloneGuard& operator=(const AloneGuard&) = delete;

  private:
    SharedSpinLock& lock_;
};

class XEN_TSA(scoped_lockable) SharedGuard {
  public:
    explicit SharedGuard(SharedSpinLock& lock) XEN_TSA(acquire_shared_capability(lock))
        : lock_(lock) {
        lock_.lock_shared();
    }
    ~SharedGuard() XEN_TSA(release_capability()) { lock_.unlock_shared(); }
    SharedGuard(const SharedGuard&) = delete;
    SharedGuard& operator=(const SharedGuard&) = delete;

  private:
    SharedSpinLock& lock_;
};

}  // namespace base
