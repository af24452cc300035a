// domctl: the control domain's operations on domains (<xen/domctl.h>).
#include "hv/hypercall/domctl.hpp"

#include "arch/cpu.hpp"
#include "hv/hypercall/control_lock.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/policy/policy.hpp"

namespace hv {

namespace {

enum class Subject : uint8_t {
    kExists,  ///< -ESRCH unless the domain exists
    kOrNone,  ///< the handler looks itself
};
enum class Answer : uint8_t {
    kNone,
    kOnSuccess,  ///< the structure goes back to the caller
    kAlways,     ///< also with an error, which it explains
};

struct Row {
    uint32_t command;
    Subject subject;
    Answer answer;
    domctl::Handler handler;
};

using enum Subject;
using enum Answer;

constexpr Row kRows[] = {
    {XEN_DOMCTL_createdomain, kOrNone, kOnSuccess, domctl::createdomain},
    {XEN_DOMCTL_destroydomain, kExists, kNone, domctl::destroydomain},
    {XEN_DOMCTL_pausedomain, kExists, kNone, domctl::pausedomain},
    {XEN_DOMCTL_unpausedomain, kExists, kNone, domctl::unpausedomain},
    {XEN_DOMCTL_resumedomain, kExists, kNone, domctl::resumedomain},
    {XEN_DOMCTL_getdomaininfo, kOrNone, kOnSuccess, domctl::getdomaininfo},
    {XEN_DOMCTL_getpageframeinfo3, kExists, kNone, domctl::getpageframeinfo3},
    {XEN_DOMCTL_setvcpuaffinity, kExists, kNone, domctl::setvcpuaffinity},
    {XEN_DOMCTL_getvcpuaffinity, kExists, kNone, domctl::getvcpuaffinity},
    {XEN_DOMCTL_max_mem, kExists, kNone, domctl::max_mem},
    {XEN_DOMCTL_setvcpucontext, kExists, kNone, domctl::setvcpucontext},
    {XEN_DOMCTL_getvcpucontext, kExists, kOnSuccess, domctl::getvcpucontext},
    {XEN_DOMCTL_getvcpuinfo, kExists, kOnSuccess, domctl::getvcpuinfo},
    {XEN_DOMCTL_max_vcpus, kExists, kNone, domctl::max_vcpus},
    {XEN_DOMCTL_scheduler_op, kExists, kAlways, domctl::scheduler_op},
    {XEN_DOMCTL_setdomainhandle, kExists, kNone, domctl::setdomainhandle},
    {XEN_DOMCTL_setdebugging, kExists, kNone, domctl::setdebugging},
    {XEN_DOMCTL_ioport_permission, kExists, kNone, domctl::ioport_permission},
    {XEN_DOMCTL_hypercall_init, kExists, kNone, domctl::hypercall_init},
    {XEN_DOMCTL_settimeoffset, kExists, kNone, domctl::settimeoffset},
    {XEN_DOMCTL_set_address_size, kExists, kNone, domctl::set_address_size},
    {XEN_DOMCTL_get_address_size, kExists, kOnSuccess, domctl::get_address_size},
    {XEN_DOMCTL_set_target, kExists, kNone, domctl::set_target},
    {XEN_DOMCTL_settscinfo, kExists, kNone, domctl::settscinfo},
    {XEN_DOMCTL_gettscinfo, kExists, kOnSuccess, domctl::gettscinfo},
    {XEN_DOMCTL_setvnumainfo, kExists, kNone, domctl::setvnumainfo},
    {XEN_DOMCTL_setnodeaffinity, kExists, kNone, domctl::setnodeaffinity},
    {XEN_DOMCTL_getnodeaffinity, kExists, kNone, domctl::getnodeaffinity},
    {XEN_DOMCTL_set_cpu_policy, kExists, kAlways, domctl::set_cpu_policy},
    {XEN_DOMCTL_get_cpu_policy, kExists, kOnSuccess, domctl::get_cpu_policy},
    {XEN_DOMCTL_set_virq_handler, kExists, kNone, domctl::set_virq_handler},
    {XEN_DOMCTL_subscribe, kExists, kNone, domctl::subscribe},
    {XEN_DOMCTL_sendtrigger, kExists, kNone, domctl::sendtrigger},
    {XEN_DOMCTL_getvcpuextstate, kExists, kOnSuccess, domctl::getvcpuextstate},
    {XEN_DOMCTL_setvcpuextstate, kExists, kNone, domctl::setvcpuextstate},
    {XEN_DOMCTL_get_vcpu_msrs, kExists, kAlways, domctl::get_vcpu_msrs},
    {XEN_DOMCTL_set_vcpu_msrs, kExists, kAlways, domctl::set_vcpu_msrs},
    {XEN_DOMCTL_get_ext_vcpucontext, kExists, kOnSuccess, domctl::get_ext_vcpucontext},
    {XEN_DOMCTL_set_ext_vcpucontext, kExists, kNone, domctl::set_ext_vcpucontext},
    {XEN_DOMCTL_irq_permission, kExists, kNone, domctl::irq_permission},
    {XEN_DOMCTL_iomem_permission, kExists, kNone, domctl::iomem_permission},
    {XEN_DOMCTL_memory_mapping, kExists, kNone, domctl::memory_mapping},
    {XEN_DOMCTL_gdbsx_guestmemio, kExists, kAlways, domctl::gdbsx_guestmemio},
    {XEN_DOMCTL_gdbsx_pausevcpu, kExists, kNone, domctl::gdbsx_pausevcpu},
    {XEN_DOMCTL_gdbsx_unpausevcpu, kExists, kNone, domctl::gdbsx_unpausevcpu},
    {XEN_DOMCTL_gdbsx_domstatus, kExists, kOnSuccess, domctl::gdbsx_domstatus},
    {XEN_DOMCTL_vm_event_op, kOrNone, kOnSuccess, domctl::vm_event_op},
    {XEN_DOMCTL_monitor_op, kExists, kOnSuccess, domctl::monitor_op},
    {XEN_DOMCTL_gethvmcontext, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_sethvmcontext, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_gethvmcontext_partial, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_debug_op, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_ioport_mapping, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_bind_pt_irq, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_unbind_pt_irq, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_soft_reset, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_vmtrace_op, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_shadow_op, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_set_broken_page_p2m, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_get_paging_mempool_size, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_set_paging_mempool_size, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_set_access_required, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_assign_device, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_test_assign_device, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_deassign_device, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_get_device_group, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_psr_cmt_op, kExists, kNone, domctl::refused},
    {XEN_DOMCTL_psr_alloc, kExists, kNone, domctl::refused},
};

const Row* find_row(uint32_t command) {
    for (const Row& row : kRows)
        if (row.command == command) return &row;
    return nullptr;
}

Outcome run(const Row& row, xen_domctl& op) {
    DomainRef domain;
    if (auto found = Domain::find(DomId{op.domain}))
        domain = static_cast<DomainRef&&>(*found);
    else if (row.subject == kExists)
        return found.error();
    if (auto may = policy::check(policy::Op::kControlDomain, *arch::current().domain, domain.get());
        !may)
        return may;

    if (!control_lock.try_lock()) return continue_with({});
    domctl::Call call{op, domain.get()};
    const Outcome outcome = row.handler(call);
    control_lock.unlock();
    return outcome;
}

}  // namespace

bool domctl::is_self(const Domain& domain) {
    return &domain == arch::current().domain;
}

Outcome do_domctl(uint64_t address, uint64_t, uint64_t, uint64_t, uint64_t) {
    const GuestInOut<xen_domctl> argument(address);
    auto op = argument.load();
    if (!op) return op.error();
    if (op->interface_version != XEN_DOMCTL_INTERFACE_VERSION) return Errno::kEACCES;
    const Row* row = find_row(op->cmd);
    if (!row) {  // what there is not, is only told to those who could use it
        TRY(policy::check(policy::Op::kControlDomain, *arch::current().domain));
        return Errno::kENOSYS;
    }

    const Outcome outcome = run(*row, *op);
    const bool answer = row->answer == kAlways || (row->answer == kOnSuccess && outcome.value >= 0);
    if (answer && !outcome.again)
        if (auto told = argument.store(*op); !told) return told;
    return outcome;
}

}  // namespace hv
