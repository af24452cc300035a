// platform_op on power: sleep states, and what Domain 0 knows of the processors' states.
#include "hv/x86/acpi/platform.hpp"

#include "base/lock.hpp"
#include "hv/console/log.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/heap.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/acpi/pminfo.hpp"
#include "hv/x86/boot/smp.hpp"

namespace hv::acpi {
namespace {

using Table = std::array<ProcessorStates*, kMaxCpus>;
Locked<Table, Rank::kIrq> g_states;  // an entry is made when Domain 0 first tells of the CPU

Result<CpuId> cpu_of_acpi_id(uint32_t acpi_id) {
    for (CpuId cpu = 0; cpu <= boot::highest_present_cpu(); ++cpu)
        if (boot::cpu_names(cpu).acpi_id == acpi_id) return cpu;
    return Errno::kEINVAL;
}

/// Changes the record of a CPU with `change(ProcessorStates&)`; kENOMEM.
template <class Change>
Result<> record(CpuId cpu, Change change) {
    auto states = g_states.lock();
    ProcessorStates*& mine = (*states)[cpu];
    if (!mine && !(mine = heap::create<ProcessorStates>())) return Errno::kENOMEM;
    change(*mine);
    return {};
}

Result<> set_idle_states(uint32_t acpi_id, const xen_processor_power& power) {
    const CpuId cpu = TRY(cpu_of_acpi_id(acpi_id));
    ProcessorStates told;
    if (power.count > told.idle.size()) return Errno::kEINVAL;
    for (; told.idle_count < power.count; ++told.idle_count) {
        const GuestIn<xen_processor_cx> states{GuestAddress(power.states).raw()};
        const auto cx = TRY(states.load(told.idle_count));
        told.idle[told.idle_count] = {cx.type, cx.latency, cx.power};
    }
    return record(cpu, [&](ProcessorStates& s) {
        s.idle_count = told.idle_count;
        s.idle = told.idle;
    });
}

/// Each flag says that the part of the structure it names is filled in.
Result<> check_performance(const xen_processor_performance& perf) {
    if ((perf.flags & XEN_PX_PCT) &&
        perf.control_register.space_id != perf.status_register.space_id)
        return Errno::kEINVAL;
    if ((perf.flags & XEN_PX_PSS) &&
        (perf.state_count <= 1 || perf.state_count > ProcessorStates::kMaxPerformance))
        return Errno::kEINVAL;
    if ((perf.flags & XEN_PX_PSD) && (perf.shared_type < XEN_CPUPERF_SHARED_TYPE_HW ||
                                      perf.shared_type > XEN_CPUPERF_SHARED_TYPE_ANY))
        return Errno::kEINVAL;
    return {};
}

Result<> set_performance_states(uint32_t acpi_id, const xen_processor_performance& perf) {
    const CpuId cpu = TRY(cpu_of_acpi_id(acpi_id));
    TRY(check_performance(perf));
    ProcessorStates told;
    if (perf.flags & XEN_PX_PSS) {
        const GuestIn<xen_processor_px> states{GuestAddress(perf.states).raw()};
        for (; told.performance_count < perf.state_count; ++told.performance_count) {
            const auto px = TRY(states.load(told.performance_count));
            told.performance[told.performance_count] = {
                static_cast<uint32_t>(px.core_frequency),
                static_cast<uint32_t>(px.transition_latency)};
        }
    }
    return record(cpu, [&](ProcessorStates& s) {
        if (perf.flags & XEN_PX_PSS) {
            s.performance_count = told.performance_count;
            s.performance = told.performance;
        }
        if (perf.flags & XEN_PX_PPC) s.platform_limit = perf.platform_limit;
    });
}

/// _PDC: {revision 1, count, capabilities}. The hypervisor takes away what it would have to do
/// itself, which is nothing yet; C-states by MWAIT are not offered.
Result<> limit_capabilities(GuestAddress where) {
    const GuestIn<uint32_t> pdc(where.raw());
    constexpr uint32_t kRevision = 1;
    constexpr uint32_t kMwaitC1 = 1 << 8, kMwaitC2C3 = 1 << 9;  // Intel's _PDC specification
    if (TRY(pdc.load(0)) != kRevision || TRY(pdc.load(1)) == 0) return Errno::kEINVAL;
    const uint32_t bits = TRY(pdc.load(2));
    return GuestOut<uint32_t>(where.raw()).store(bits & ~(kMwaitC1 | kMwaitC2C3), 2);
}

}  // namespace

Result<ProcessorStates> processor_states(CpuId cpu) {
    if (cpu >= kMaxCpus) return Errno::kEINVAL;
    auto states = g_states.lock();
    if (!(*states)[cpu]) return Errno::kENODATA;
    return *(*states)[cpu];
}

namespace platform {

/// Soft-off is all there is. The values are whole PM1 control registers, as ACPICA made them.
Outcome enter_acpi_sleep(const Request&, xen_platform_op& op) {
    constexpr uint16_t kSleepEnable = 1 << 13;
    constexpr uint32_t kSoftOff = 5;
    const auto& sleep = op.u.enter_acpi_sleep;
    if (sleep.flags & XENPF_ACPI_SLEEP_EXTENDED) return Errno::kEPERM;  // no such registers known
    if (!info().pm1a_control_port) return Errno::kEPERM;
    if (sleep.val_b && ((sleep.val_a ^ sleep.val_b) & kSleepEnable)) return Errno::kEINVAL;
    if (sleep.flags) return Errno::kEINVAL;
    if (sleep.sleep_state != kSoftOff) {
        log(LogLevel::kInfo, "ACPI: sleep state S{} is not supported", sleep.sleep_state);
        return Errno::kEOPNOTSUPP;
    }
    log(LogLevel::kInfo, "Domain 0 powers the machine off");
    return enter_soft_off(sleep.val_a, sleep.val_b);
}

Outcome set_processor_pminfo(const Request&, xen_platform_op& op) {
    const auto& info = op.u.set_pminfo;
    switch (info.type) {
        case XEN_PM_CX:
            return set_idle_states(info.id, info.u.power);
        case XEN_PM_PX:
            return set_performance_states(info.id, info.u.perf);
        case XEN_PM_TX:
            return Errno::kENOSYS;
        case XEN_PM_PDC:
            return limit_capabilities(GuestAddress(info.u.pdc));
        default:
            return Errno::kEINVAL;
    }
}

}  // namespace platform
}  // namespace hv::acpi
