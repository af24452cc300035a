// One-shot timers in system time, each on one CPU, run from Softirq::kTimer.
#pragma once

#include "base/list.hpp"
#include "hv/limits.hpp"

namespace hv {

class Timer : public ListNode<Timer> {
  public:
    using Function = void (*)(void* data);

    void init(Function function, void* data, CpuId cpu);
    /// (Re)arms for `deadline`, absolute system time.
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
    Function function_ = nullptr;
    void* data_ = nullptr;
    Nanoseconds deadline_ = 0;
    CpuId cpu_ = 0;
    enum class State : uint8_t { kIdle, kQueued, kDead } state_ = State::kIdle;
};

/// Once at boot, before the first Timer is used.
void timers_init();
/// From the timer interrupt: work is due (raises the softirq).
void timer_interrupt();

}  // namespace hv
