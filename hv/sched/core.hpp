// What the files of the scheduler's core share. Private to hv/sched.
#pragma once

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/sched/policy.hpp"
#include "hv/sched/pool.hpp"
#include "hv/sched/sched.hpp"
#include "hv/sched/softirq.hpp"

namespace hv::sched {

inline constexpr size_t kWatchdogs = 2;  // as many as Xen has; guests probe for kENOSPC

/// What Domain::sched_data points to.
struct DomainData {
    Pool* pool = nullptr;
    void* settings = nullptr;  ///< the policy's
    struct Watchdog {
        Timer timer;
        bool in_use = false;  ///< under the domain's life_lock
    } watchdogs[kWatchdogs];
};

extern PerCpu<RunQueue> queues;
/// CPUs that run their idle vCPU and have not been given anything to do yet.
extern AtomicCpuMask idle_cpus;
/// Where every CPU and Domain 0 begin, with the policy of `sched=`.
extern Pool pool0;

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
/// Whether `unit` may not run on `cpu`, or could do so where it would rather.
bool should_leave(Unit& unit, CpuId cpu);
/// The CPU with the fewest vCPUs among those `unit` may run on, or better, wishes to; its present
/// one if it may run on none.
CpuId pick_cpu(const Unit& unit);
/// Brings a vCPU here that waits elsewhere in the pool and that the policy ranks above `above`;
/// false: none.
bool steal(Pool& pool, CpuId thief, int64_t above);

// affinity.cpp
/// After a change of its affinity or of its pool's CPUs, under its queue's lock.
void set_allowed(Unit& unit);
/// After set_allowed(): gets `vcpu` off a CPU it may no longer use, or has an idle one take it that
/// it may use now. If it runs, its CPU does that at the next choice.
void follow_affinity(Vcpu& vcpu);

// pool.cpp
/// Pool 0, with that policy; without the memory for it there is no machine.
void init_pools(const Policy& policy);
/// `cpu`, which is up and free, is the pool's.
void give_cpu(Pool& pool, CpuId cpu);
/// Calls `fn(Domain&)` for each domain of the pool that can still be found.
template <class Fn>
void for_each_domain(Pool& pool, Fn fn) {
    Domain::for_each([&](Domain& domain) {
        if (domain.sched_data && data_of(domain).pool == &pool) fn(domain);
        return true;
    });
}
template <class Fn>
void for_each_vcpu(Domain& domain, Fn fn) {
    for (uint32_t n = 0; n < domain.max_vcpus; ++n)
        if (Vcpu* vcpu = domain.vcpus[n]) fn(*vcpu);
}

// vcpu_timers.cpp
void init_timers(Vcpu& vcpu);
void kill_timers(Vcpu& vcpu);
/// The vCPU leaves this CPU / is loaded here.
void timers_switched_out(Vcpu& vcpu);
void timers_switched_in(Vcpu& vcpu);

}  // namespace hv::sched
