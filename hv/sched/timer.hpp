// One-shot timers in system time, each on one CPU, run from Softirq::kTimer.
#pragma once

#include <atomic>

#include "hv/limits.hpp"

namespace hv {

class TimerQueue;

/// Its links in the CPU's heap (timer_heap.hpp) are part of it, so arming cannot fail.
class Timer {
  public:
    using Function = void (*)(void* data);

    constexpr Timer() = default;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void init(Function function, void* data, CpuId cpu);
    /// (Re)arms for `deadline`, absolute system time. Nothing happens before init() and after
    /// kill().
    void set(Nanoseconds deadline);
    /// Disarms; the function does not start afterwards (but may be running on its CPU).
    void stop();
    /// Disarms for good and waits until a running function has returned. Not from the function.
    void kill();
    void migrate(CpuId cpu);
    bool active() const;
    Nanoseconds deadline() const { return deadline_; }

  private:
    friend class TimerQueue;
    friend class TimerHeap;
    void disarm(TimerQueue& queue);
    Function function_ = nullptr;
    void* data_ = nullptr;
    Nanoseconds deadline_ = 0;
    Timer* child_ = nullptr;     // TimerHeap's: the first of those due later than this one
    Timer* next_ = nullptr;      // … its next sibling
    Timer* previous_ = nullptr;  // … its previous sibling, or its parent if it is the first
    std::atomic<CpuId> cpu_{0};
    enum class State : uint8_t { kDead, kIdle, kQueued, kMoving };
    std::atomic<State> state_{State::kDead};
};

/// Once at boot, before the first Timer is used.
void timers_init();
/// From the timer interrupt: work is due (raises the softirq).
void timer_interrupt();

}  // namespace hv
