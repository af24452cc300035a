// Locks with a rank, and data that is reachable only through its lock.
//
// The hypervisor runs with interrupts off (docs/tour.md), so a lock never has to save the
// interrupt flag. A CPU that spins keeps serving what other CPUs ask of it (TLB flushes) through
// base::spin_wait(), which the environment provides: else two CPUs would wait for each other.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#if defined(__clang__)
#define XEN_TSA(x) __attribute__((x))
#else
#define XEN_TSA(x)
#endif

namespace base {

/// One turn of a wait loop. Provided by hv/x86 (pause, serve flush requests) and by the test fake.
void spin_wait();

/// Once the other CPUs are stopped for good (a panic, the machine's end): who holds a lock will not
/// come back, and whoever still runs goes on without waiting.
inline std::atomic<bool> locks_broken{false};

/// Until `done()`, or locks are broken. Most waits are shorter than one turn of spin_wait() (a
/// PAUSE alone is up to 140 cycles on Intel's processors: Optimization Reference Manual, PAUSE
/// latency), so it only looks for some time first.
template <class Done>
inline void wait_until(Done done) {
    constexpr unsigned kLooks = 64;
    for (unsigned looks = 0; !done(); ++looks) {
        if (looks < kLooks) continue;
        if (locks_broken.load(std::memory_order_relaxed)) return;
        spin_wait();
    }
}

/// Called around every lock of rank `rank` in debug builds; provided like spin_wait().
void note_lock_taken(uint8_t rank);
void note_lock_dropped(uint8_t rank);

#ifdef XENOLITH_DEBUG
inline constexpr bool kCheckLockOrder = true;
#else
inline constexpr bool kCheckLockOrder = false;
#endif

/// First come, first served. Of no rank: for who says which it has, as SpinLock does. Zeroed memory
/// is one that is free.
class XEN_TSA(capability("mutex")) TicketLock {
  public:
    constexpr TicketLock() = default;
    TicketLock(const TicketLock&) = delete;
    TicketLock& operator=(const TicketLock&) = delete;

    void lock() XEN_TSA(acquire_capability()) {
        const uint32_t mine = next_.fetch_add(1, std::memory_order_relaxed);
        if (serving_.load(std::memory_order_acquire) != mine) [[unlikely]]
            wait(mine);
    }
    bool try_lock() XEN_TSA(try_acquire_capability(true)) {
        uint32_t now = serving_.load(std::memory_order_relaxed);
        uint32_t want = now;
        return next_.compare_exchange_strong(want, now + 1, std::memory_order_acquire);
    }
    void unlock() XEN_TSA(release_capability()) {
        serving_.store(serving_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    bool locked() const { return next_.load() != serving_.load(); }
    /// For who has it: whether others wait.
    bool is_wanted() const {
        return next_.load(std::memory_order_relaxed) - serving_.load(std::memory_order_relaxed) > 1;
    }

  private:
    /// Apart, so that who need not wait saves no registers for it.
    [[gnu::noinline, gnu::cold]] void wait(uint32_t mine) {
        wait_until([&] { return serving_.load(std::memory_order_acquire) == mine; });
    }

    std::atomic<uint32_t> next_{0};
    std::atomic<uint32_t> serving_{0};
};

class XEN_TSA(capability("mutex")) SpinLock {
  public:
    constexpr explicit SpinLock(uint8_t rank) : rank_(rank) {}
    SpinLock(const SpinLock&) = delete;
    SpinLock& operator=(const SpinLock&) = delete;

    // The analysis follows this lock and not the one within.
    void lock() XEN_TSA(acquire_capability()) XEN_TSA(no_thread_safety_analysis) {
        tickets_.lock();
        if constexpr (kCheckLockOrder) note_lock_taken(rank_);
    }
    bool try_lock() XEN_TSA(try_acquire_capability(true)) XEN_TSA(no_thread_safety_analysis) {
        if (!tickets_.try_lock()) return false;
        if constexpr (kCheckLockOrder) note_lock_taken(rank_);
        return true;
    }
    void unlock() XEN_TSA(release_capability()) XEN_TSA(no_thread_safety_analysis) {
        if constexpr (kCheckLockOrder) note_lock_dropped(rank_);
        tickets_.unlock();
    }
    bool locked() const { return tickets_.locked(); }
    bool is_wanted() const { return tickets_.is_wanted(); }
    uint8_t rank() const { return rank_; }

  private:
    TicketLock tickets_;
    uint8_t rank_;
};

template <class Lock>
class XEN_TSA(scoped_lockable) LockGuard {
  public:
    explicit LockGuard(Lock& lock) XEN_TSA(acquire_capability(lock)) : lock_(lock) { lock_.lock(); }
    ~LockGuard() XEN_TSA(release_capability()) { lock_.unlock(); }
    LockGuard(const LockGuard&) = delete;
    LockGuard& operator=(const LockGuard&) = delete;

  private:
    Lock& lock_;
};

/// Data and its lock: `auto t = table.lock(); t->field = …;`
template <class T, auto Rank>
class Locked {
  public:
    template <class... Args>
    constexpr explicit Locked(Args&&... args) : value_(std::forward<Args>(args)...) {}

    class [[nodiscard]] Guard {
      public:
        explicit Guard(Locked& owner) : owner_(owner) { owner_.lock_.lock(); }
        ~Guard() { owner_.lock_.unlock(); }
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;
        T* operator->() { return &owner_.value_; }
        T& operator*() { return owner_.value_; }

      private:
        Locked& owner_;
    };
    Guard lock() { return Guard(*this); }
    /// For constructors, destructors and readers that say why no lock is needed.
    T& unlocked() { return value_; }
    const T& unlocked() const { return value_; }

  private:
    SpinLock lock_{static_cast<uint8_t>(Rank)};
    T value_;
};

}  // namespace base
