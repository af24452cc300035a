// sysctl: power management as xenpm shows and sets it. There are no frequencies to govern, and one
// idle state: HLT, which is C1.
#include <algorithm>
#include <atomic>

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/sysctl.hpp"
#include "hv/sched/idle.hpp"
#include "hv/sched/sched.hpp"

namespace hv::sysctl {

namespace {

constexpr uint32_t kIdleStates = 2;  // C0, in which the CPU works, and C1

std::atomic<uint32_t> g_max_state[2] = {XEN_SYSCTL_CX_UNLIMITED, XEN_SYSCTL_CX_UNLIMITED};
std::atomic<uint32_t> g_smt_saving{0};

bool is_online(uint32_t cpu) {
    return cpu < kMaxCpus && arch::online_cpus().test(cpu);
}

/// How often the CPU has entered each state, and how long it was there.
Result<> idle_statistics(CpuId cpu, pm_cx_stat& stat) {
    const sched::Sleeps slept = sched::sleeps_of(cpu);
    const auto up = static_cast<uint64_t>(arch::now());
    const uint64_t idle = sched::runstate_of(sched::idle_vcpu(cpu)).time[RUNSTATE_running];
    const uint64_t triggers[kIdleStates] = {slept.count, slept.count};
    const uint64_t residencies[kIdleStates] = {up - std::min(slept.time, up), slept.time};
    const size_t room = std::min(stat.nr, kIdleStates);
    stat.nr = kIdleStates;
    stat.last = slept.count ? 1 : 0;
    stat.idle_time = idle;
    stat.nr_pc = stat.nr_cc = 0;  // no counters of the processor's own are read
    TRY(GuestOut<uint64_t>(stat.triggers).store_many({triggers, room}));
    return GuestOut<uint64_t>(stat.residencies).store_many({residencies, room});
}

Result<> limit_idle_state(uint32_t which, uint32_t most) {
    if (which >= std::size(g_max_state)) return Errno::kEINVAL;
    if (which == 0 && most == 0) return Errno::kEOPNOTSUPP;  // a CPU that has nothing to do sleeps
    g_max_state[which].store(most);
    return {};
}

}  // namespace

Outcome get_pmstat(xen_sysctl& op) {
    auto& request = op.u.get_pmstat;
    if (!is_online(request.cpuid)) return Errno::kEINVAL;
    switch (request.type) {
        case PMSTAT_get_max_cx:
            request.u.getcx.nr = kIdleStates;
            return Outcome{};
        case PMSTAT_get_cxstat:
            return idle_statistics(request.cpuid, request.u.getcx);
        case PMSTAT_reset_cxstat:
            return Outcome{};  // since boot, always, as on Xen
    }
    return (request.type & PMSTAT_CATEGORY_MASK) == PMSTAT_CX ? Errno::kENOSYS : Errno::kENODEV;
}

Outcome pm_op(xen_sysctl& op) {
    auto& request = op.u.pm_op;
    switch (request.cmd) {
        case XEN_SYSCTL_pm_op_set_sched_opt_smt:
            if (request.cpuid != 0) return Errno::kEINVAL;
            request.u.set_sched_opt_smt = g_smt_saving.exchange(request.u.set_sched_opt_smt != 0);
            return Outcome{};
        case XEN_SYSCTL_pm_op_get_max_cstate:
            if (request.cpuid >= std::size(g_max_state)) return Errno::kEINVAL;
            request.u.get_max_cstate = g_max_state[request.cpuid].load();
            return Outcome{};
        case XEN_SYSCTL_pm_op_set_max_cstate:
            return limit_idle_state(request.cpuid, request.u.set_max_cstate);
    }
    if (!is_online(request.cpuid)) return Errno::kEINVAL;
    switch (request.cmd) {
        case GET_CPUFREQ_PARA:
        case SET_CPUFREQ_GOV:
        case SET_CPUFREQ_PARA:
            return Errno::kEINVAL;  // what Xen says of a CPU without performance states
        case GET_CPUFREQ_AVGFREQ:
        case XEN_SYSCTL_pm_op_enable_turbo:
        case XEN_SYSCTL_pm_op_disable_turbo:
            return Errno::kEOPNOTSUPP;
    }
    return Errno::kENOSYS;
}

}  // namespace hv::sysctl
