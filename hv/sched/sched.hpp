// The scheduler's core: what other rooms ask of it. Policies (credit …) are behind
// policy.hpp, the CPUs that each has in pool.hpp.
#pragma once

#include <string_view>

#include "base/result.hpp"
#include "hv/limits.hpp"

struct sched_poll;
struct vcpu_runstate_info;
struct xen_domctl_scheduler_op;
struct xen_sysctl_scheduler_op;

namespace hv {

struct Domain;
struct Vcpu;

namespace sched {

/// Once at boot, when the heap works and before the first CPU is announced. `name` from `sched=`;
/// an unknown one is named in a warning and credit is used.
void init(std::string_view name);
/// For each CPU that has come up: its idle vCPU exists from then on. kENOMEM.
Result<> cpu_up(CpuId cpu);
Vcpu& idle_vcpu(CpuId cpu);

/// A domain's scheduling data (pool, weight, watchdogs); before its first vCPU. kESRCH: its
/// configuration names a pool that is not there; kENODEV: one without CPUs; kENOMEM.
Result<> init_domain(Domain& domain);
/// Stops the watchdogs early (when the domain begins to die) …
void stop_watchdogs(Domain& domain);
/// … and frees it all, once the vCPUs are gone; also after half a success of init_domain().
void destroy_domain(Domain& domain);

/// Gives the vCPU its scheduling data and a first CPU; kENOMEM.
Result<> add_vcpu(Vcpu& vcpu);
void remove_vcpu(Vcpu& vcpu);  ///< paused and off every CPU

/// Something for it to do may have come; also after unpausing. Ends SCHEDOP_block and _poll.
void wake(Vcpu& vcpu);
void sleep_nosync(Vcpu& vcpu);  ///< it became non-runnable; its CPU will notice soon
void sleep_sync(Vcpu& vcpu);    ///< the same, and waits until it is off its CPU

void block_current();  ///< SCHEDOP_block: unmasks events; sleeps unless one is pending
void yield_current();
/// SCHEDOP_poll. kEINVAL: too many ports, or one that does not exist; kEFAULT.
Result<> poll_current(const sched_poll& poll);

/// Pause counts: while above 0 the vCPU does not run. vcpu_pause and domain_pause wait until it is
/// off its CPU, and so must not be called by two vCPUs on each other at once: the callers are
/// control operations, of which there is one at a time. The current vCPU itself is not waited for;
/// it leaves its CPU when the hypercall ends.
void vcpu_pause(Vcpu& vcpu);
void vcpu_pause_nosync(Vcpu& vcpu);
void vcpu_unpause(Vcpu& vcpu);
void domain_pause(Domain& domain);
void domain_pause_nosync(Domain& domain);
void domain_unpause(Domain& domain);
/// The control domain's own pause (XEN_DOMCTL_pausedomain), counted by itself. kEINVAL: unbalanced;
/// kE2BIG: paused 255 times.
Result<> domain_pause_by_controller(Domain& domain);
/// The same for a domain's own vCPU, on behalf of a debugger: nobody is waited for.
Result<> domain_pause_by_controller_nosync(Domain& domain);
Result<> domain_unpause_by_controller(Domain& domain);

/// Hard affinity is a rule, soft a wish. kEINVAL: no usable CPU in `hard`; kEBUSY: overridden.
Result<> set_affinity(Vcpu& vcpu, const CpuMask& hard, const CpuMask& soft);
/// SCHEDOP_pin_override of the current vCPU: to `pcpu`, or back if negative. kEINVAL: no such CPU,
/// or nothing to undo; kEBUSY: overridden already.
Result<> pin_override_current(int32_t pcpu);

/// Has the domain's memory come from the nodes of the CPUs that its vCPUs may (and would like to)
/// run on, unless it was told nodes of its own (Domain::has_node_affinity). Under the control lock.
void follow_nodes(Domain& domain);

/// Takes it back, for the tools; nothing happens if there is none.
void end_pin_override(Vcpu& vcpu);

/// SCHEDOP_watchdog: `id` 0 sets a new one up and says its number (from 1). `seconds` 0 ends it.
/// kEINVAL: no such watchdog; kENOSPC: both are in use.
Result<uint32_t> set_watchdog(Domain& domain, uint32_t id, uint32_t seconds);

/// How long the vCPU has been in each state, up to now.
vcpu_runstate_info runstate_of(Vcpu& vcpu);
/// Writes the current vCPU's runstate and time to where the guest registered them. When its user's
/// page tables are loaded that may fail: then Vcpu::dirty_runstate is set, and whoever switches to
/// its kernel's calls this again.
void update_guest_copies();

/// Called by arch::context_switch(prev, next) once prev's registers are in memory, next's page
/// tables are loaded and arch::current() is next: another CPU may run prev from then on.
/// schedule() does nothing after it, so context_switch need not return.
void context_saved(Vcpu& prev);

/// XEN_DOMCTL_scheduler_op and XEN_SYSCTL_scheduler_op; implemented over the pool's policy.
/// kEINVAL: not this policy's id, a command it does not have (settings for each vCPU), or out of
/// range; kESRCH: no such pool.
Result<> domain_control(Domain& domain, xen_domctl_scheduler_op& op);
Result<> system_control(xen_sysctl_scheduler_op& op);
/// XEN_SCHEDULER_* of the policy in pool 0.
uint32_t policy_id();

/// Prints pools and run queues, for a debug key.
void report();

/// Idle CPUs run this for ever (softirqs, scrubbing, sleep).
[[noreturn]] void idle_loop();

}  // namespace sched
}  // namespace hv
