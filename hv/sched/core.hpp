// What the files of the scheduler's core share. Private to hv/sched.
#pragma once

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/sched/policy.hpp"
#include "hv/sched/sched.hpp"
#include "hv/sched/softirq.hpp"

namespace hv::sched {

inline constexpr size_t kWatchdogs = 2;  // as many as Xen has; guests probe for kENOSPC

/// What Domain::sched_data points to.
struct DomainData {
    void* settings = nullptr;  ///< the policy's
    struct Watchdog {
        Timer timer;
        bool in_use = false;  ///< under the domain's life_lock
    } watchdogs[kWatchdogs];
};

extern PerCpu<RunQueue> queues;
extern const Policy* policy;
/// CPUs that run their idle vCPU and have not been given anything to do yet.
extern AtomicCpuMask idle_cpus;
/// CPUs that have been announced by cpu_up().
extern AtomicCpuMask known_cpus;

inline RunQueue& queue_of(CpuId cpu) {
    return queues.on(cpu);
}
inline Unit* unit_of(const Vcpu& vcpu) {
    return static_cast<Unit*>(vcpu.sched_data);
}
inline DomainData& data_of(const Domain& domain) {
    return *static_cast<DomainData*>(domain.sched_data);
}

/// The lock of the queue a vCPU belongs to; it may move until the lock is held.
class QueueLock {
  public:
    explicit QueueLock(const Vcpu& vcpu) : queue_(&lock(vcpu)) {}
    explicit QueueLock(RunQueue& queue) : queue_(&queue) { queue.lock.lock(); }
    ~QueueLock() { queue_->lock.unlock(); }
    QueueLock(const QueueLock&) = delete;
    QueueLock& operator=(const QueueLock&) = delete;
    RunQueue& operator*() const { return *queue_; }
    RunQueue* operator->() const { return queue_; }

  private:
    static RunQueue& lock(const Vcpu& vcpu) {
        for (;;) {
            const CpuId cpu = vcpu.cpu.load(std::memory_order_acquire);
            RunQueue& queue = queue_of(cpu);
            queue.lock.lock();
            if (vcpu.cpu.load(std::memory_order_relaxed) == cpu) return queue;
            queue.lock.unlock();
        }
    }
    RunQueue* queue_;
};

// runstate.cpp
/// Ends the state the vCPU was in, at `now`. Under its queue's lock.
void change_runstate(Vcpu& vcpu, int state, Nanoseconds now);
/// Copies it to where the guest wants it. `vcpu`'s page tables are loaded here.
void update_guest_runstate(Vcpu& vcpu);

// place.cpp
/// Lets a runnable vCPU wait where it may run, and tells a CPU that should have it; what is not
/// runnable, waits or runs already is left alone.
void place(Vcpu& vcpu);
/// Gets somebody to run `unit`, which has just begun to wait on `queue`: an idle CPU, or the
/// queue's own if `preempts`. Under the queue's lock.
void tickle(RunQueue& queue, const Unit& unit, bool preempts);
/// Announces those who go on waiting to idle CPUs: they may have been announced to this one, which
/// has then chosen another. Under the queue's lock.
void offer_waiting(RunQueue& queue);
/// Under the lock of its present queue; the new queue's lock protects it from then on.
void assign_cpu(Vcpu& vcpu, CpuId cpu);
/// Whether `vcpu` may not run on `cpu`, or could do so where it would rather.
bool should_leave(const Vcpu& vcpu, CpuId cpu);
/// The CPU with the fewest vCPUs among those `vcpu` may run on, or better, wishes to.
CpuId pick_cpu(const Vcpu& vcpu);
/// Brings a vCPU here that waits elsewhere and that the policy ranks above `above`; false: none.
bool steal(CpuId thief, int64_t above);

// vcpu_timers.cpp
void init_timers(Vcpu& vcpu);
void kill_timers(Vcpu& vcpu);
/// The vCPU leaves this CPU / is loaded here.
void timers_switched_out(Vcpu& vcpu);
void timers_switched_in(Vcpu& vcpu);

}  // namespace hv::sched
