// What a scheduling policy is to the core: who waits where and in which order is the policy's, who
// may run at all, states, locks and moves between CPUs are the core's.
//
//   wake ──► place(): the vCPU's CPU, under its queue's lock ──► Policy::wake ──► waits there
//                                                                     │
//   Softirq::kSchedule ──► Policy::choose ──► runs; what ran before waits again, or sleeps
//                              │ "look elsewhere"
//                              └──► Policy::surrender of other CPUs' queues ──► place() here
//
// A pool of CPUs (pool.hpp) has one policy, and that policy's state: pools do not know each other.
// A pass through the scheduler makes one or two calls through the table.
#pragma once

#include <atomic>
#include <string_view>

#include "base/list.hpp"
#include "base/lock.hpp"
#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/lock_rank.hpp"
#include "hv/sched/timer.hpp"

struct xen_domctl_scheduler_op;
struct xen_sysctl_scheduler_op;

namespace hv {

struct Domain;
struct Vcpu;

namespace sched {

struct Pool;

/// A vCPU as policies see it; a policy derives its own from it. Vcpu::sched_data points here.
/// Linked: it waits in the queue of Vcpu::cpu. Under that queue's lock.
struct Unit : ListNode<Unit> {
    Unit(Vcpu& v, Pool& p) : vcpu(v), pool(p) {}
    Vcpu& vcpu;
    Pool& pool;
    CpuMask allowed;      ///< the core's: CPUs of the pool that its hard affinity leaves
    bool parked = false;  ///< the policy's: it waits, and no CPU may run it for now
};

/// One for each CPU. `lock` protects all of it and, for each vCPU whose `cpu` this is, its Unit,
/// its runstate and the decision whether it waits. Vcpu::cpu changes under the lock of the old CPU.
struct RunQueue {
    SpinLock lock{static_cast<uint8_t>(Rank::kScheduler)};
    CpuId cpu = 0;
    Pool* pool = nullptr;     ///< nullptr: free, it runs nothing but its idle vCPU
    Vcpu* idle = nullptr;     ///< nullptr: the CPU is not up
    Vcpu* current = nullptr;  ///< what runs here, or is about to be loaded
    List<Unit> waiting;
    std::atomic<uint32_t> waiting_count{0};  ///< read without the lock to skip empty queues
    std::atomic<uint32_t> assigned{0};       ///< vCPUs whose `cpu` this is
    Nanoseconds looked_elsewhere = 0;        ///< the policy's: when it last compared with others
    Nanoseconds virtual_now = 0;             ///< the policy's
    Timer slice;                             ///< raises Softirq::kSchedule at slice_end
    Nanoseconds slice_end = 0;               ///< the timer may be armed for an earlier moment

    void push(Unit& unit) {
        waiting.push_back(unit);
        waiting_count.fetch_add(1);  // before the idle CPUs are looked at: see tickle()
    }
    void take(Unit& unit) {
        waiting.remove(unit);
        waiting_count.fetch_sub(1);
    }
};

struct Choice {
    Unit* next = nullptr;         ///< nullptr: the idle vCPU
    Nanoseconds slice = 0;        ///< how long from now until the next choice; 0 and idle: as long
                                  ///< as nobody asks for one
    bool look_elsewhere = false;  ///< nothing is decided yet: ask other CPUs for one above `above`
    int64_t above = INT64_MIN;    ///< in the policy's own measure
};

/// What is to be done about one that waits from now on.
enum class Wake : uint8_t {
    kWaits,     ///< an idle CPU may have it; what runs here goes on
    kPreempts,  ///< and if none is idle, what runs here is interrupted for it
    kHere,      ///< no other CPU's business: this one is to choose again
};

struct Policy {
    std::string_view name;  ///< as in `sched=`
    uint32_t id;            ///< XEN_SCHEDULER_*

    /// A pool's state (Pool::state), with time slices of that length where the policy has such;
    /// kENOMEM.
    Result<void*> (*create_pool)(Nanoseconds slice);
    void (*destroy_pool)(void* state);
    /// Settings of a domain in `pool`; kENOMEM.
    Result<void*> (*create_domain)(Pool& pool);
    void (*destroy_domain)(void* settings);
    Result<Unit*> (*create_unit)(Vcpu& vcpu, Pool& pool, void* settings);
    void (*destroy_unit)(Unit& unit);

    // Under the lock of the queue:

    /// `unit` is runnable and neither runs nor waits: it waits from now on, if it has come here
    /// from another CPU with its old claims. `running`: whom the core would interrupt (nullptr:
    /// idle).
    Wake (*wake)(RunQueue& queue, Unit& unit, Unit* running, Nanoseconds now);
    /// `unit`, which does not run, is no longer runnable: it stops waiting.
    void (*sleep)(RunQueue& queue, Unit& unit);
    /// The running `unit` lets others go first, once.
    void (*yield)(Unit& unit);
    /// Who runs next here. `prev` ran until now (nullptr: idle); if it may go on, `may_stay`, it is
    /// chosen again or waits. Otherwise it is neither: it sleeps, or the core moves it.
    Choice (*choose)(RunQueue& queue, Unit* prev, bool may_stay, Nanoseconds now, bool may_look);
    /// Gives up the best waiting unit above `above` that may run on `thief` (by soft affinity, too,
    /// if `wished`) and that is not just being saved on this CPU; nullptr.
    Unit* (*surrender)(RunQueue& queue, CpuId thief, int64_t above, bool wished);
    /// The CPU that the runnable `unit` is to be on, for a policy that hands out CPUs for good; its
    /// present one if there is none for it. nullptr: the core finds one by affinity and load.
    CpuId (*assign)(Unit& unit);

    /// XEN_DOMCTL_SCHEDOP_*, XEN_SYSCTL_SCHEDOP_* with the command checked; nullptr: there is
    /// nothing to set or to tell, and as on Xen that is a success.
    Result<> (*domain_control)(Domain& domain, void* settings, xen_domctl_scheduler_op& op);
    Result<> (*system_control)(void* state, xen_sysctl_scheduler_op& op);

    /// For debug keys: what `rank()` counts, and that figure of one that waits here or runs.
    std::string_view measure;
    int64_t (*rank)(const Unit& unit);
};

extern const Policy kCreditPolicy;
extern const Policy kCredit2Policy;
extern const Policy kNullPolicy;

/// That of `sched=`, that of an XEN_SCHEDULER_*; nullptr: there is none.
const Policy* find_policy(std::string_view name);
const Policy* find_policy(uint32_t id);

}  // namespace sched
}  // namespace hv
