// Which CPUs a vCPU may (hard) and would like to (soft) run on.
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace {

void override_hard_affinity(Vcpu& vcpu, const CpuMask& mask, bool overridden) {
    {
        QueueLock queue(vcpu);
        if (overridden) vcpu.saved_affinity = vcpu.hard_affinity;
        vcpu.hard_affinity = mask;
        vcpu.pin_overridden = overridden;
        set_allowed(*unit_of(vcpu));
    }
    follow_affinity(vcpu);
}

}  // namespace

void set_allowed(Unit& unit) {
    unit.allowed = unit.vcpu.hard_affinity & unit.pool.cpus.snapshot();
}

void follow_affinity(Vcpu& vcpu) {
    {
        QueueLock queue(vcpu);
        if (queue->current == &vcpu) {
            raise_softirq_on(queue->cpu, Softirq::kSchedule);
            return;
        }
        Unit& unit = *unit_of(vcpu);
        const bool may_stay = unit.allowed.test(queue->cpu);
        if (may_stay && !(unit.linked() && should_leave(unit, queue->cpu))) {
            if (unit.linked()) tickle(*queue, unit, false);
            return;
        }
        if (vcpu.is_running.load()) return;  // context_saved() places it
        if (unit.linked()) queue->take(unit);
        if (!may_stay) assign_cpu(vcpu, pick_cpu(unit));
    }
    place(vcpu);
}

Result<> set_affinity(Vcpu& vcpu, const CpuMask& hard, const CpuMask& soft) {
    {
        QueueLock queue(vcpu);
        Unit& unit = *unit_of(vcpu);
        if ((hard & unit.pool.cpus.snapshot()).empty()) return Errno::kEINVAL;
        if (vcpu.pin_overridden && !(hard == vcpu.hard_affinity)) return Errno::kEBUSY;
        vcpu.hard_affinity = hard;
        vcpu.soft_affinity = soft;
        set_allowed(unit);
    }
    follow_affinity(vcpu);
    return {};
}

void end_pin_override(Vcpu& vcpu) {
    if (vcpu.pin_overridden) override_hard_affinity(vcpu, CpuMask(vcpu.saved_affinity), false);
}

Result<> pin_override_current(int32_t pcpu) {
    Vcpu& vcpu = arch::current();
    if (pcpu < 0) {
        if (!vcpu.pin_overridden) return Errno::kEINVAL;
        end_pin_override(vcpu);
        return {};
    }
    const auto cpu = static_cast<CpuId>(pcpu);
    if (cpu >= kMaxCpus || !unit_of(vcpu)->pool.cpus.test(cpu)) return Errno::kEINVAL;
    if (vcpu.pin_overridden) return Errno::kEBUSY;
    override_hard_affinity(vcpu, CpuMask::single(cpu), true);
    return {};
}

}  // namespace hv::sched
