// Grace periods, one after another. While one runs, `waiting_for` holds the CPUs that have not
// been quiescent since it began, and new callbacks gather for the next one.
#include "hv/sched/rcu.hpp"

#include "arch/cpu.hpp"
#include "base/lock.hpp"
#include "hv/lock_rank.hpp"
#include "hv/sched/softirq.hpp"

namespace hv {
namespace {

struct RcuState {
    List<RcuHead> next;     ///< for the grace period after the current one
    List<RcuHead> current;  ///< run when the current grace period ends
    List<RcuHead> done;     ///< to be run now, by the CPU that was the last
    CpuMask waiting_for;
};

constinit Locked<RcuState, Rank::kRcu> state;
/// waiting_for without the lock: whether this CPU has anything to report.
constinit AtomicCpuMask asked;

void splice(List<RcuHead>& into, List<RcuHead>& from) {
    while (RcuHead* head = from.pop_front()) into.push_back(*head);
}

/// Begins a grace period if there is something to wait for and none under way.
void begin(RcuState& s) {
    if (!s.waiting_for.empty() || s.next.empty()) return;
    splice(s.current, s.next);
    s.waiting_for = arch::online_cpus();
    s.waiting_for.for_each([](size_t cpu) {
        asked.set(cpu);
        raise_softirq_on(static_cast<CpuId>(cpu), Softirq::kRcu);
    });
}

void run_done() {
    for (;;) {
        RcuHead* head = state.lock()->done.pop_front();
        if (!head) return;
        head->function(head);
    }
}

}  // namespace

void call_rcu(RcuHead& head, void (*function)(RcuHead*)) {
    head.function = function;
    auto s = state.lock();
    s->next.push_back(head);
    begin(*s);
}

void rcu_quiescent() {
    const CpuId cpu = arch::this_cpu();
    if (!asked.test(cpu)) return;
    auto s = state.lock();
    asked.clear(cpu);
    s->waiting_for.clear(cpu);
    if (!s->waiting_for.empty()) return;
    if (!s->current.empty()) {
        splice(s->done, s->current);
        raise_softirq(Softirq::kRcu);  // the callbacks run there, without the lock
    }
    begin(*s);
}

void rcu_init() {
    // A softirq handler runs with nothing on the stack, so its CPU is quiescent by definition.
    set_softirq_handler(Softirq::kRcu, [] {
        rcu_quiescent();
        run_done();
    });
}

}  // namespace hv
