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
bool tickle_idle(const CpuMask& cpus) {
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

/// An idle CPU that `vcpu` wishes to run on, if it does not wish to run on `cpu`; kNone.
size_t idle_wish(const Vcpu& vcpu, CpuId cpu) {
    if (vcpu.soft_affinity.test(cpu)) return CpuMask::kNone;
    return (vcpu.hard_affinity & vcpu.soft_affinity & idle_cpus.snapshot()).first();
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
    if (!vcpu.hard_affinity.test(queue.cpu)) {
        // While its registers lie on the old CPU it cannot go; context_saved() comes back here.
        if (vcpu.is_running.load()) return true;
        assign_cpu(vcpu, pick_cpu(vcpu));
        return false;
    }
    if (const size_t wish = idle_wish(vcpu, queue.cpu);
        wish != CpuMask::kNone && !vcpu.is_running.load()) {
        assign_cpu(vcpu, static_cast<CpuId>(wish));
        return false;
    }
    Unit* running = queue.current == queue.idle ? nullptr : unit_of(*queue.current);
    const bool preempts = policy->wake(queue, unit, running, now);
    tickle(queue, unit, preempts);
    return true;
}

}  // namespace

bool should_leave(const Vcpu& vcpu, CpuId cpu) {
    return !vcpu.hard_affinity.test(cpu) || idle_wish(vcpu, cpu) != CpuMask::kNone;
}

void assign_cpu(Vcpu& vcpu, CpuId cpu) {
    queue_of(vcpu.cpu.load(std::memory_order_relaxed)).assigned.fetch_sub(1);
    queue_of(cpu).assigned.fetch_add(1);
    vcpu.cpu.store(cpu, std::memory_order_release);  // last: the old lock's say ends here
}

CpuId pick_cpu(const Vcpu& vcpu) {
    const CpuMask known = known_cpus.snapshot();
    CpuMask allowed = vcpu.hard_affinity & known;
    if (allowed.empty()) allowed = known;  // set_affinity() refuses it; better than to stop
    const CpuMask wished = allowed & vcpu.soft_affinity;
    return least_assigned(wished.empty() ? allowed : wished);
}

void tickle(RunQueue& queue, const Unit& unit, bool preempts) {
    // An idle CPU sets its bit, then looks for somebody who waits; here it is the other way round,
    // so one of the two sees the other.
    const Vcpu& vcpu = unit.vcpu;
    const CpuMask allowed = vcpu.hard_affinity;
    if (tickle_idle(CpuMask::single(queue.cpu) & allowed) ||
        tickle_idle(allowed & vcpu.soft_affinity) || tickle_idle(allowed))
        return;
    if (preempts || queue.current == queue.idle) raise_softirq_on(queue.cpu, Softirq::kSchedule);
}

void offer_waiting(RunQueue& queue) {
    if (queue.waiting.empty() || idle_cpus.snapshot().empty()) return;
    for (Unit& unit : queue.waiting)
        if (!unit.vcpu.is_running.load()) tickle_idle(unit.vcpu.hard_affinity);
}

void place(Vcpu& vcpu) {
    for (;;) {
        QueueLock queue(vcpu);
        if (try_place(*queue, vcpu)) return;
    }
}

bool steal(CpuId thief, int64_t above) {
    const CpuMask cpus = known_cpus.snapshot();
    // First those who wish to run here; an idle CPU then takes anybody who may.
    for (const bool wished : {true, false}) {
        if (!wished && above != INT64_MIN) break;
        for (size_t i = 1; i < kMaxCpus; ++i) {
            const auto victim = static_cast<CpuId>((thief + i) % kMaxCpus);
            if (!cpus.test(victim)) continue;
            RunQueue& queue = queue_of(victim);
            if (queue.waiting_count.load() == 0) continue;
            Unit* unit;
            {
                QueueLock lock(queue);
                unit = policy->surrender(queue, thief, above, wished);
                if (unit) assign_cpu(unit->vcpu, thief);
            }
            if (!unit) continue;
            place(unit->vcpu);
            return true;
        }
    }
    return false;
}

}  // namespace hv::sched
