// The scheduler's core: what other rooms ask of it. Policies (credit …) are behind policy.hpp.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

struct Domain;
struct Vcpu;

namespace sched {

/// Once at boot. `name` from `sched=`; an unknown one is named in a warning and credit is used.
void init(std::string_view name);
/// For each CPU that has come up: its idle vCPU exists from then on.
Result<> cpu_up(CpuId cpu);
Vcpu& idle_vcpu(CpuId cpu);

/// Gives the vCPU its scheduling data and a first CPU; kENOMEM.
Result<> add_vcpu(Vcpu& vcpu);
void remove_vcpu(Vcpu& vcpu);  ///< paused and off every CPU

void wake(Vcpu& vcpu);            ///< something for it to do may have come; also after unpausing
void sleep_nosync(Vcpu& vcpu);    ///< it became non-runnable; its CPU will notice soon
void sleep_sync(Vcpu& vcpu);      ///< the same, and waits until it is off its CPU

void block_current();             ///< SCHEDOP_block: unmasks events; sleeps unless one is pending
void yield_current();
/// Pause counts: while above 0 the vCPU does not run. *_sync waits until it is off its CPU.
void vcpu_pause(Vcpu& vcpu);
void vcpu_pause_nosync(Vcpu& vcpu);
void vcpu_unpause(Vcpu& vcpu);
void domain_pause(Domain& domain);
void domain_pause_nosync(Domain& domain);
void domain_unpause(Domain& domain);
/// The control domain's own pause (XEN_DOMCTL_pausedomain), counted by itself. kEINVAL: unbalanced.
Result<> domain_pause_by_controller(Domain& domain);
Result<> domain_unpause_by_controller(Domain& domain);

/// Hard affinity is a rule, soft a wish. kEINVAL: no usable CPU in `hard`.
Result<> set_affinity(Vcpu& vcpu, const CpuMask& hard, const CpuMask& soft);

/// XEN_DOMCTL_scheduler_op and XEN_SYSCTL_scheduler_op; implemented over the policy.
Result<> domain_control(Domain& domain, struct xen_domctl_scheduler_op& op);
/// XEN_SCHEDULER_* of the policy in use.
uint32_t policy_id();

/// Idle CPUs run this for ever (softirqs, scrubbing, sleep).
[[noreturn]] void idle_loop();

}  // namespace sched
}  // namespace hv
