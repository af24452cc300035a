// Where a vCPU waits, and who is told. No two queue locks are ever held together: a vCPU on its way
// from one CPU to another belongs to the new one's lock, but waits nowhere until it is placed.
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace {

CpuId least_assigned(const CpuMask& cpus) {
    CpuId best = static_cast<CpuId>(cpus.first());
    cpus.for_each([&](size_t n) {
        const auto cpu = static_cast<CpuId>(n);
        if (queue_of(cpu).assigned.load() < queue_of(best).assigned.load()) best = cpu;
    });
    return best;
}

/// Tells one CPU of `cpus` that is idle. Its bit goes with it, so that the next vCPU to be placed
/// is announced to another one.
bool tickle_idle(CpuMask cpus) {
    cpus &= idle_cpus.snapshot();
    for (size_t n = cpus.first(); n != CpuMask::kNone; n = cpus.next(n + 1)) {
        if (!idle_cpus.test_and_clear(n)) continue;
        raise_softirq_on(static_cast<CpuId>(n), Softirq::kSchedule);
        return true;
    }
    return false;
}

/// A vCPU that is on no CPU's mind: its state as seen by accounting.
void note_not_runnable(Vcpu& vcpu) {
    if (vcpu.runstate.state != RUNSTATE_blocked) return;
    if (vcpu.pause_flags.load() & pause::kBlocked) return;
    change_runstate(vcpu, RUNSTATE_offline, arch::now());
}

/// An idle CPU that `unit` wishes to run on, if it does not wish to run on `cpu`; kNone.
size_t idle_wish(const Unit& unit, CpuId cpu) {
    const CpuMask& wished = unit.vcpu.soft_affinity;
    if (wished.test(cpu)) return CpuMask::kNone;
    return (unit.allowed & wished & idle_cpus.snapshot()).first();
}

/// Where `unit` should rather be than on `cpu`; `cpu`: it is right there.
CpuId better_cpu(Unit& unit, CpuId cpu) {
    if (const auto assign = unit.pool.policy->assign) return assign(unit);
    if (!unit.allowed.test(cpu)) return pick_cpu(unit);
    const size_t wish = idle_wish(unit, cpu);
    return wish == CpuMask::kNone ? cpu : static_cast<CpuId>(wish);
}

/// One try to place `vcpu`, under its queue's lock. False: it has been sent to another CPU.
bool try_place(RunQueue& queue, Vcpu& vcpu) {
    if (queue.current == &vcpu) return true;
    Unit& unit = *unit_of(vcpu);
    if (!vcpu.runnable()) {
        note_not_runnable(vcpu);
        return true;
    }
    if (unit.linked()) return true;
    const Nanoseconds now = arch::now();
    if (vcpu.runstate.state >= RUNSTATE_blocked) change_runstate(vcpu, RUNSTATE_runnable, now);
    if (const CpuId better = better_cpu(unit, queue.cpu); better != queue.cpu) {
        // While its registers lie on the old CPU it cannot go; context_saved() comes back here.
        if (vcpu.is_running.load()) return true;
        assign_cpu(vcpu, better);
        return false;
    }
    Unit* running = queue.current == queue.idle ? nullptr : unit_of(*queue.current);
    const Wake wake = unit.pool.policy->wake(queue, unit, running, now);
    if (wake == Wake::kHere)
        raise_softirq_on(queue.cpu, Softirq::kSchedule);
    else
        tickle(queue, unit, wake == Wake::kPreempts);
    return true;
}

}  // namespace

bool should_leave(Unit& unit, CpuId cpu) {
    return better_cpu(unit, cpu) != cpu;
}

void assign_cpu(Vcpu& vcpu, CpuId cpu) {
    queue_of(vcpu.cpu.load(std::memory_order_relaxed)).assigned.fetch_sub(1);
    queue_of(cpu).assigned.fetch_add(1);
    vcpu.cpu.store(cpu, std::memory_order_release);  // last: the old lock's say ends here
}

CpuId pick_cpu(const Unit& unit) {
    if (unit.allowed.empty()) return unit.vcpu.cpu.load(std::memory_order_relaxed);
    const CpuMask wished = unit.allowed & unit.vcpu.soft_affinity;
    return least_assigned(wished.empty() ? unit.allowed : wished);
}

void tickle(RunQueue& queue, const Unit& unit, bool preempts) {
    if (unit.parked) return;
    // An idle CPU sets its bit, then looks for somebody who waits; here it is the other way round,
    // so one of the two sees the other.
    const CpuMask& allowed = unit.allowed;
    if (!idle_cpus.empty() &&
        (tickle_idle(CpuMask::single(queue.cpu) & allowed) ||
         tickle_idle(allowed & unit.vcpu.soft_affinity) || tickle_idle(allowed)))
        return;
    if (preempts || queue.current == queue.idle) raise_softirq_on(queue.cpu, Softirq::kSchedule);
}

void offer_waiting(RunQueue& queue) {
    if (queue.waiting.empty() || idle_cpus.snapshot().empty()) return;
    for (Unit& unit : queue.waiting)
        if (!unit.parked && !unit.vcpu.is_running.load()) tickle_idle(unit.allowed);
}

void place(Vcpu& vcpu) {
    for (;;) {
        QueueLock queue(vcpu);
        if (try_place(*queue, vcpu)) return;
    }
}

bool steal(Pool& pool, CpuId thief, int64_t above) {
    const CpuMask cpus = pool.cpus.snapshot();
    // First those who wish to run here; an idle CPU then takes anybody who may.
    for (const bool wished : {true, false}) {
        if (!wished && above != INT64_MIN) break;
        for (size_t i = 1; i < kMaxCpus; ++i) {
            const auto victim = static_cast<CpuId>((thief + i) % kMaxCpus);
            if (!cpus.test(victim)) continue;
            RunQueue& queue = queue_of(victim);
            if (queue.waiting_count.load() == 0) continue;
            Vcpu* taken = nullptr;
            {
                QueueLock lock(queue);
                // It may have gone to another pool just now, and then so have those who wait.
                if (queue.pool != &pool) continue;
                if (Unit* unit = pool.policy->surrender(queue, thief, above, wished)) {
                    taken = &unit->vcpu;
                    assign_cpu(*taken, thief);
                }
            }
            if (!taken) continue;
            // By the vCPU: outside the lock its unit may be exchanged and freed (pool_move.cpp).
            place(*taken);
            return true;
        }
    }
    return false;
}

}  // namespace hv::sched
