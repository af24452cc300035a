// sysctl: the control domain's operations on the host (<xen/sysctl.h>).
#include "hv/hypercall/sysctl.hpp"

#include "arch/cpu.hpp"
#include "base/lock.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/control_lock.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/lock_rank.hpp"
#include "hv/policy/policy.hpp"

namespace hv {

namespace {

using policy::Op;

enum class Answer : uint8_t {
    kOnSuccess,  ///< the structure goes back to the caller
    kAlways,     ///< also with an error, which it explains
};

struct Row {
    uint32_t command;
    Op who;
    Answer answer;
    sysctl::Handler handler;
};

using enum Answer;

constexpr Row kRows[] = {
    {XEN_SYSCTL_readconsole, Op::kReadConsole, kOnSuccess, sysctl::readconsole},
    {XEN_SYSCTL_physinfo, Op::kControlHost, kOnSuccess, sysctl::physinfo},
    {XEN_SYSCTL_sched_id, Op::kControlHost, kOnSuccess, sysctl::sched_id},
    {XEN_SYSCTL_getdomaininfolist, Op::kControlHost, kOnSuccess, sysctl::getdomaininfolist},
    {XEN_SYSCTL_debug_keys, Op::kControlHost, kOnSuccess, sysctl::debug_keys},
    {XEN_SYSCTL_getcpuinfo, Op::kControlHost, kOnSuccess, sysctl::getcpuinfo},
    {XEN_SYSCTL_availheap, Op::kControlHost, kOnSuccess, sysctl::availheap},
    {XEN_SYSCTL_cputopoinfo, Op::kControlHost, kOnSuccess, sysctl::cputopoinfo},
    {XEN_SYSCTL_numainfo, Op::kControlHost, kOnSuccess, sysctl::numainfo},
    {XEN_SYSCTL_cpupool_op, Op::kControlHost, kOnSuccess, sysctl::cpupool_op},
    {XEN_SYSCTL_scheduler_op, Op::kControlHost, kOnSuccess, sysctl::scheduler_op},
    {XEN_SYSCTL_get_cpu_levelling_caps, Op::kControlHost, kOnSuccess,
     sysctl::get_cpu_levelling_caps},
    {XEN_SYSCTL_get_cpu_featureset, Op::kControlHost, kAlways, sysctl::get_cpu_featureset},
    {XEN_SYSCTL_get_cpu_policy, Op::kControlHost, kOnSuccess, sysctl::get_cpu_policy},
    {XEN_SYSCTL_pcitopoinfo, Op::kControlHost, kOnSuccess, sysctl::pcitopoinfo},
    {XEN_SYSCTL_get_pmstat, Op::kControlHost, kOnSuccess, sysctl::get_pmstat},
    {XEN_SYSCTL_pm_op, Op::kControlHost, kOnSuccess, sysctl::pm_op},
    {XEN_SYSCTL_cpu_hotplug, Op::kControlHost, kOnSuccess, sysctl::cpu_hotplug},
    {XEN_SYSCTL_page_offline_op, Op::kControlHost, kOnSuccess, sysctl::page_offline_op},
    {XEN_SYSCTL_livepatch_op, Op::kControlHost, kOnSuccess, sysctl::livepatch_op},
    {XEN_SYSCTL_psr_cmt_op, Op::kControlHost, kOnSuccess, sysctl::no_cache_monitoring},
    {XEN_SYSCTL_psr_alloc, Op::kControlHost, kOnSuccess, sysctl::no_cache_monitoring},
    {XEN_SYSCTL_tbuf_op, Op::kControlHost, kOnSuccess, sysctl::tbuf_op},
    {XEN_SYSCTL_perfc_op, Op::kControlHost, kOnSuccess, sysctl::perfc_op},
    {XEN_SYSCTL_coverage_op, Op::kControlHost, kOnSuccess, sysctl::no_coverage},
};

const Row* find_row(uint32_t command) {
    for (const Row& row : kRows)
        if (row.command == command) return &row;
    return nullptr;
}

}  // namespace

Outcome do_sysctl(uint64_t address, uint64_t, uint64_t, uint64_t, uint64_t) {
    const GuestInOut<xen_sysctl> argument(address);
    auto op = argument.load();
    if (!op) return op.error();
    if (op->interface_version != XEN_SYSCTL_INTERFACE_VERSION) return Errno::kEACCES;
    const Row* row = find_row(op->cmd);
    const Op who = row ? row->who : Op::kControlHost;
    if (auto may = policy::check(who, *arch::current().domain); !may) return may;
    if (!row) return Errno::kENOSYS;

    if (!control_lock.try_lock()) return continue_with({});
    const Outcome outcome = row->handler(*op);
    control_lock.unlock();
    if (outcome.value >= 0 || row->answer == kAlways)
        if (auto told = argument.store(*op); !told) return told;
    return outcome;
}

}  // namespace hv
