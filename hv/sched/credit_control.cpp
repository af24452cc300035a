// The credit policy's settings, and the making of what it keeps.
#include <cstdint>

#include <xen/domctl.h>
#include <xen/sysctl.h>

#include "hv/memory/heap.hpp"
#include "hv/sched/credit_data.hpp"

namespace hv::sched::credit {
namespace {

bool in_range(const xen_sysctl_credit_schedule& params) {
    const uint32_t limit = params.ratelimit_us;  // 0: none
    return params.tslice_ms >= XEN_SYSCTL_CSCHED_TSLICE_MIN &&
           params.tslice_ms <= XEN_SYSCTL_CSCHED_TSLICE_MAX &&
           (limit == 0 ||
            (limit >= XEN_SYSCTL_SCHED_RATELIMIT_MIN && limit <= XEN_SYSCTL_SCHED_RATELIMIT_MAX)) &&
           limit <= 1000 * params.tslice_ms &&
           params.vcpu_migr_delay_us <= XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US;
}

}  // namespace

Result<void*> create_pool(Nanoseconds slice) {
    auto* state = heap::create<State>();
    if (!state) return Errno::kENOMEM;
    constexpr Nanoseconds kMost = XEN_SYSCTL_CSCHED_TSLICE_MAX * kMillisecond;
    state->slice = std::clamp(slice, kMillisecond, kMost);
    return static_cast<void*>(state);
}
void destroy_pool(void* state) {
    heap::destroy(static_cast<State*>(state));
}

Result<void*> create_domain(Pool&) {
    auto* settings = heap::create<Settings>();
    if (!settings) return Errno::kENOMEM;
    return static_cast<void*>(settings);
}
void destroy_domain(void* settings) {
    heap::destroy(static_cast<Settings*>(settings));
}

Result<Unit*> create_unit(Vcpu& vcpu, Pool& pool, void* settings) {
    auto* unit = heap::create<CreditUnit>(vcpu, pool, *static_cast<Settings*>(settings));
    if (!unit) return Errno::kENOMEM;
    unit->account.share_seen = unit->state.share_clock.load();
    return static_cast<Unit*>(unit);
}
void destroy_unit(Unit& unit) {
    heap::destroy(&of(unit));
}

Result<> domain_control(Domain&, void* data, xen_domctl_scheduler_op& op) {
    auto& settings = *static_cast<Settings*>(data);
    auto& wanted = op.u.credit;
    switch (op.cmd) {
        case XEN_DOMCTL_SCHEDOP_getinfo:
            wanted.weight = settings.weight;
            wanted.cap = settings.cap.percent();
            return {};
        case XEN_DOMCTL_SCHEDOP_putinfo:
            // A weight of 0 and a cap of 0xffff mean "as it is".
            if (wanted.weight) settings.weight = wanted.weight;
            if (wanted.cap != uint16_t{0xffff}) settings.cap.set(wanted.cap);
            return {};
        default:
            return Errno::kEINVAL;
    }
}

Result<> system_control(void* data, xen_sysctl_scheduler_op& op) {
    auto& state = *static_cast<State*>(data);
    auto& params = op.u.sched_credit;
    if (op.cmd == XEN_SYSCTL_SCHEDOP_putinfo) {
        if (!in_range(params)) return Errno::kEINVAL;
        state.slice = params.tslice_ms * kMillisecond;
        state.rate_limit = params.ratelimit_us * kMicrosecond;
        state.migration_delay_us = params.vcpu_migr_delay_us;
    }
    params.tslice_ms = static_cast<uint32_t>(state.slice.load() / kMillisecond);
    params.ratelimit_us = static_cast<uint32_t>(state.rate_limit.load() / kMicrosecond);
    params.vcpu_migr_delay_us = state.migration_delay_us;
    return {};
}

}  // namespace hv::sched::credit
