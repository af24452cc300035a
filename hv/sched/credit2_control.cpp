// The credit2 policy's settings, and the making of what it keeps.
#include <cstdint>

#include <xen/domctl.h>
#include <xen/sysctl.h>

#include "hv/memory/heap.hpp"
#include "hv/sched/credit2_data.hpp"

namespace hv::sched::credit2 {
namespace {

uint32_t count_vcpus(Domain& domain) {
    uint32_t count = 0;
    for_each_vcpu(domain, [&](Vcpu&) { ++count; });
    return count;
}

}  // namespace

Result<void*> create_pool(Nanoseconds) {
    auto* state = heap::create<State>();
    if (!state) return Errno::kENOMEM;
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
    auto* unit = heap::create<Credit2Unit>(vcpu, pool, *static_cast<Settings*>(settings));
    if (!unit) return Errno::kENOMEM;
    return static_cast<Unit*>(unit);
}
void destroy_unit(Unit& unit) {
    heap::destroy(&of(unit));
}

Result<> domain_control(Domain& domain, void* data, xen_domctl_scheduler_op& op) {
    auto& settings = *static_cast<Settings*>(data);
    auto& wanted = op.u.credit2;
    switch (op.cmd) {
        case XEN_DOMCTL_SCHEDOP_getinfo:
            wanted.weight = settings.weight;
            wanted.cap = settings.cap.percent();
            return {};
        case XEN_DOMCTL_SCHEDOP_putinfo:
            // A weight of 0 means "as it is", and is taken even if the cap is refused: as on Xen.
            if (wanted.weight) settings.weight = wanted.weight;
            if (wanted.cap > 100 * count_vcpus(domain)) return Errno::kEINVAL;
            settings.cap.set(wanted.cap);
            return {};
        default:
            return Errno::kEINVAL;
    }
}

Result<> system_control(void* data, xen_sysctl_scheduler_op& op) {
    auto& state = *static_cast<State*>(data);
    uint32_t& limit = op.u.sched_credit2.ratelimit_us;  // 0: none
    if (op.cmd == XEN_SYSCTL_SCHEDOP_putinfo) {
        if (limit &&
            (limit > XEN_SYSCTL_SCHED_RATELIMIT_MAX || limit < XEN_SYSCTL_SCHED_RATELIMIT_MIN))
            return Errno::kEINVAL;
        state.rate_limit = limit * kMicrosecond;
    }
    limit = static_cast<uint32_t>(state.rate_limit.load() / kMicrosecond);
    return {};
}

}  // namespace hv::sched::credit2
