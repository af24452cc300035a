#include "hv/sched/timer.hpp"

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "base/lock.hpp"
#include "hv/lock_rank.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/sched/timer_heap.hpp"

namespace hv {

/// The timers of one CPU.
class TimerQueue {
  public:
    /// The queue of `timer`, locked. It may move until its queue's lock is held.
    // The lock is handed from one to the other, which the analysis cannot follow.
    static TimerQueue& lock_of(const Timer& timer) XEN_TSA(no_thread_safety_analysis);
    void unlock() XEN_TSA(no_thread_safety_analysis) { lock_.unlock(); }

    void insert(Timer& timer, CpuId cpu) {
        timer.state_.store(Timer::State::kQueued, std::memory_order_relaxed);
        heap_.insert(timer);
        if (heap_.first() == &timer) earlier(cpu);
    }
    void remove(Timer& timer) {
        timer.state_.store(Timer::State::kIdle, std::memory_order_relaxed);
        heap_.remove(timer);
        // The hardware stays armed; an interrupt too early finds nothing to do and rearms it.
    }

    void run_due();
    bool runs(const Timer& timer) const {
        return running_.load(std::memory_order_acquire) == &timer;
    }

  private:
    /// The first timer is now an earlier one: the hardware is told, on the CPU that has it.
    void earlier(CpuId cpu) {
        const Nanoseconds deadline = heap_.first()->deadline();
        if (deadline >= programmed_) return;
        if (cpu == arch::this_cpu()) {
            programmed_ = deadline;
            arch::program_timer(deadline);
        } else {
            raise_softirq_on(cpu, Softirq::kTimer);
        }
    }

    SpinLock lock_{static_cast<uint8_t>(Rank::kTimer)};
    TimerHeap heap_;
    Nanoseconds programmed_ = arch::kNever;  ///< when the CPU's timer interrupt comes
    std::atomic<Timer*> running_{nullptr};   ///< whose function runs on that CPU now
};

namespace {
constinit PerCpu<TimerQueue> queues;
}

TimerQueue& TimerQueue::lock_of(const Timer& timer) {
    for (;;) {
        const CpuId cpu = timer.cpu_.load(std::memory_order_acquire);
        TimerQueue& queue = queues.on(cpu);
        queue.lock_.lock();
        if (timer.cpu_.load(std::memory_order_relaxed) == cpu) return queue;
        queue.lock_.unlock();
    }
}

void TimerQueue::run_due() {
    lock_.lock();
    programmed_ = arch::kNever;  // it has fired, or it is set anew below
    for (;;) {
        Timer* timer = heap_.first();
        if (!timer || timer->deadline() > arch::now()) break;
        remove(*timer);
        // The timer may be gone once its function has run: what is needed is read before.
        const Timer::Function function = timer->function_;
        void* const data = timer->data_;
        running_.store(timer, std::memory_order_relaxed);
        lock_.unlock();
        function(data);
        running_.store(nullptr, std::memory_order_release);
        lock_.lock();
    }
    if (Timer* timer = heap_.first()) programmed_ = timer->deadline();
    arch::program_timer(programmed_);
    lock_.unlock();
}

void Timer::init(Function function, void* data, CpuId cpu) {
    function_ = function;
    data_ = data;
    cpu_.store(cpu, std::memory_order_relaxed);
    state_.store(State::kIdle, std::memory_order_release);
}

void Timer::set(Nanoseconds deadline) {
    if (state_.load(std::memory_order_acquire) == State::kDead) return;
    TimerQueue& queue = TimerQueue::lock_of(*this);
    const State state = state_.load(std::memory_order_relaxed);
    if (state == State::kQueued) queue.remove(*this);
    if (state != State::kDead) {
        deadline_ = deadline;
        queue.insert(*this, cpu_.load(std::memory_order_relaxed));
    }
    queue.unlock();
}

void Timer::stop() {
    // Most timers that are stopped are not armed. Who arms it at the same time may as well have
    // come later.
    if (!active()) return;
    TimerQueue& queue = TimerQueue::lock_of(*this);
    disarm(queue);
    queue.unlock();
}

/// Under the queue's lock.
void Timer::disarm(TimerQueue& queue) {
    const State state = state_.load(std::memory_order_relaxed);
    if (state == State::kQueued) queue.remove(*this);
    if (state == State::kMoving) state_.store(State::kIdle, std::memory_order_relaxed);
}

void Timer::kill() {
    if (state_.load(std::memory_order_acquire) == State::kDead) return;
    TimerQueue& queue = TimerQueue::lock_of(*this);
    disarm(queue);
    state_.store(State::kDead, std::memory_order_relaxed);
    queue.unlock();
    // It may be running on a CPU it has been migrated from since.
    arch::online_cpus().for_each([this](size_t cpu) {
        while (queues.on(static_cast<CpuId>(cpu)).runs(*this)) base::spin_wait();
    });
}

void Timer::migrate(CpuId cpu) {
    if (cpu_.load(std::memory_order_relaxed) == cpu) return;
    TimerQueue& from = TimerQueue::lock_of(*this);
    const bool armed = state_.load(std::memory_order_relaxed) == State::kQueued;
    if (armed) {
        from.remove(*this);
        state_.store(State::kMoving, std::memory_order_relaxed);
    }
    cpu_.store(cpu, std::memory_order_release);
    from.unlock();
    if (!armed) return;
    // Between the two locks it is in no queue; who arms, stops or kills it meanwhile wins.
    TimerQueue& to = TimerQueue::lock_of(*this);
    if (state_.load(std::memory_order_relaxed) == State::kMoving)
        to.insert(*this, cpu_.load(std::memory_order_relaxed));
    to.unlock();
}

bool Timer::active() const {
    const State state = state_.load(std::memory_order_acquire);
    return state == State::kQueued || state == State::kMoving;
}

void timers_init() {
    set_softirq_handler(Softirq::kTimer, [] { queues.on(arch::this_cpu()).run_due(); });
}

void timer_interrupt() {
    raise_softirq(Softirq::kTimer);
}

}  // namespace hv
