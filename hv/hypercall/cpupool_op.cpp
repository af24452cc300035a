// sysctl: pools of CPUs. <xen/sysctl.h> says which error means what.
#include "hv/domain/domain.hpp"
#include "hv/hypercall/control_bitmap.hpp"
#include "hv/hypercall/domctl.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/sysctl.hpp"
#include "hv/sched/policy.hpp"
#include "hv/sched/pool.hpp"

namespace hv::sysctl {

namespace {

static_assert(sched::kAnyPool == XEN_SYSCTL_CPUPOOL_PAR_ANY);
static_assert(sched::kAnyCpu == XEN_SYSCTL_CPUPOOL_PAR_ANY);

Result<> create(xen_sysctl_cpupool_op& op) {
    op.cpupool_id = TRY(sched::create_pool(op.cpupool_id, op.sched_id))->id;
    return {};
}

/// Of the first pool from that number on, so that the tools can list them.
Result<> info(xen_sysctl_cpupool_op& op) {
    const sched::Pool* pool = sched::find_pool_from(op.cpupool_id);
    if (!pool) return Errno::kENOENT;
    op.cpupool_id = pool->id;
    op.sched_id = pool->policy->id;
    op.n_dom = pool->domains.load();
    return store_bitmap(op.cpumap, pool->cpus.snapshot());
}

Result<> move_domain(const xen_sysctl_cpupool_op& op) {
    if (op.domid > UINT16_MAX) return Errno::kESRCH;
    const DomainRef domain = TRY(Domain::find(DomId{static_cast<uint16_t>(op.domid)}));
    // It would have to be paused: nobody can wait for himself.
    if (domctl::is_self(*domain)) return Errno::kEPERM;
    return sched::move_domain(*domain, op.cpupool_id);
}

}  // namespace

Outcome cpupool_op(xen_sysctl& sysctl) {
    auto& op = sysctl.u.cpupool_op;
    switch (op.op) {
        case XEN_SYSCTL_CPUPOOL_OP_CREATE:
            return create(op);
        case XEN_SYSCTL_CPUPOOL_OP_DESTROY:
            return sched::destroy_pool(op.cpupool_id);
        case XEN_SYSCTL_CPUPOOL_OP_INFO:
            return info(op);
        case XEN_SYSCTL_CPUPOOL_OP_ADDCPU:
            return sched::add_cpu(op.cpupool_id, op.cpu);
        case XEN_SYSCTL_CPUPOOL_OP_RMCPU: {
            auto again = sched::remove_cpu(op.cpupool_id, op.cpu);
            if (!again) return again.error();
            return *again ? continue_with({}) : Outcome{};
        }
        case XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN:
            return move_domain(op);
        case XEN_SYSCTL_CPUPOOL_OP_FREEINFO:
            return store_bitmap(op.cpumap, sched::free_cpus());
    }
    return Errno::kENOSYS;
}

}  // namespace hv::sysctl
