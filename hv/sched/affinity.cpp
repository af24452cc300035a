// Which CPUs a vCPU may (hard) and would like to (soft) run on.
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace {

/// After a change: gets `vcpu` off a CPU it may no longer use, or has an idle one take it that it
/// may use now. If it runs, its CPU does that at the next choice.
void follow_affinity(Vcpu& vcpu) {
    {
        QueueLock queue(vcpu);
        if (queue->current == &vcpu) {
            raise_softirq_on(queue->cpu, Softirq::kSchedule);
            return;
        }
        Unit& unit = *unit_of(vcpu);
        if (vcpu.hard_affinity.test(queue->cpu)) {
            if (unit.linked()) tickle(*queue, unit, false);
            return;
        }
        if (vcpu.is_running.load()) return;  // context_saved() places it
        if (unit.linked()) queue->take(unit);
        assign_cpu(vcpu, pick_cpu(vcpu));
    }
    place(vcpu);
}

void override_hard_affinity(Vcpu& vcpu, const CpuMask& mask, bool overridden) {
    {
        QueueLock queue(vcpu);
        if (overridden) vcpu.saved_affinity = vcpu.hard_affinity;
        vcpu.hard_affinity = mask;
        vcpu.pin_overridden = overridden;
    }
    follow_affinity(vcpu);
}

}  // namespace

Result<> set_affinity(Vcpu& vcpu, const CpuMask& hard, const CpuMask& soft) {
    if ((hard & known_cpus.snapshot()).empty()) return Errno::kEINVAL;
    {
        QueueLock queue(vcpu);
        if (vcpu.pin_overridden && !(hard == vcpu.hard_affinity)) return Errno::kEBUSY;
        vcpu.hard_affinity = hard;
        vcpu.soft_affinity = soft;
    }
    follow_affinity(vcpu);
    return {};
}

Result<> pin_override_current(int32_t pcpu) {
    Vcpu& vcpu = arch::current();
    if (pcpu < 0) {
        if (!vcpu.pin_overridden) return Errno::kEINVAL;
        const CpuMask back = vcpu.saved_affinity;
        override_hard_affinity(vcpu, back, false);
        return {};
    }
    const auto cpu = static_cast<CpuId>(pcpu);
    if (cpu >= kMaxCpus || !known_cpus.test(cpu)) return Errno::kEINVAL;
    if (vcpu.pin_overridden) return Errno::kEBUSY;
    override_hard_affinity(vcpu, CpuMask::single(cpu), true);
    return {};
}

}  // namespace hv::sched
