#include "hv/x86/cpu/policy.hpp"

#include <xen/arch-x86/cpufeatureset.h>
#include <xen/domctl.h>
#include <xen/sysctl.h>

#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/memory/heap.hpp"
#include "hv/x86/cpu/feature_sets.hpp"
#include "hv/x86/cpu/policy_detect.hpp"

namespace hv::arch::cpu_policy {
namespace {

CpuPolicy raw_policy, host_policy, pv_max_policy, pv_default_policy;

/// The entries' array on the heap: too large for the stack.
template <class Entry>
Result<uint32_t> copy_out(const CpuPolicy& policy, GuestOut<Entry> out, uint32_t room,
                          uint32_t most) {
    auto entries = TRY(heap::OwnedArray<Entry>::create(most));
    std::span<Entry> all(entries.data(), most);
    uint32_t count = TRY(serialise(policy, all));
    if (count > room) return Errno::kENOBUFS;
    TRY(out.store_many(all.first(count)));
    return count;
}

/// For both get operations; a null array asks for the most there can be.
template <class Op>
Result<> get(const CpuPolicy& policy, Op& op) {
    GuestOut<xen_cpuid_leaf_t> leaves(op.leaves);
    GuestOut<xen_msr_entry_t> msrs(op.msrs);
    op.nr_leaves =
        leaves.is_null() ? kMaxLeaves : TRY(copy_out(policy, leaves, op.nr_leaves, kMaxLeaves));
    op.nr_msrs = msrs.is_null() ? kMaxMsrs : TRY(copy_out(policy, msrs, op.nr_msrs, kMaxMsrs));
    return {};
}

Result<> merge_all(CpuPolicy& policy, const xen_domctl_cpu_policy& op, Objection& objection) {
    GuestIn<xen_cpuid_leaf_t> leaves(op.leaves);
    for (uint32_t i = 0; i < op.nr_leaves; ++i) {
        xen_cpuid_leaf_t entry = TRY(leaves.load(i));
        objection = {.leaf = entry.leaf, .subleaf = entry.subleaf};
        TRY(merge(policy, entry));
    }
    GuestIn<xen_msr_entry_t> msrs(op.msrs);
    for (uint32_t i = 0; i < op.nr_msrs; ++i) {
        xen_msr_entry_t entry = TRY(msrs.load(i));
        objection = {.msr = entry.idx};
        TRY(merge(policy, entry));
    }
    objection = {};
    return {};
}

Result<> set(CpuPolicy& current, const xen_domctl_cpu_policy& op, Objection& objection) {
    if (op.nr_leaves > kMaxLeaves || op.nr_msrs > kMaxMsrs) return Errno::kE2BIG;
    heap::Owned<CpuPolicy> merged(heap::create<CpuPolicy>(current));
    if (!merged) return Errno::kENOMEM;
    TRY(merge_all(*merged, op, objection));
    TRY(check_compatible(pv_max_policy, *merged, objection));
    sanitise(*merged, pv_max_policy, host_policy);
    current = *merged;
    return {};
}

}  // namespace

void init() {
    raw_policy = detect();
    host_policy = make_host(raw_policy);
    pv_max_policy = make_pv_max(host_policy);
    pv_default_policy = make_pv_default(pv_max_policy, host_policy);
}

void init_cpu() {
    enable_cpuid_faulting(host_policy);
}

const CpuPolicy& host() {
    return host_policy;
}

Result<const CpuPolicy*> system(uint32_t index) {
    switch (index) {
        case XEN_SYSCTL_cpu_policy_raw:
            return &raw_policy;
        case XEN_SYSCTL_cpu_policy_host:
            return &host_policy;
        case XEN_SYSCTL_cpu_policy_pv_max:
            return &pv_max_policy;
        case XEN_SYSCTL_cpu_policy_pv_default:
            return &pv_default_policy;
        case XEN_SYSCTL_cpu_policy_hvm_max:
        case XEN_SYSCTL_cpu_policy_hvm_default:
            return Errno::kEOPNOTSUPP;
        default:
            return Errno::kEINVAL;
    }
}

Result<> init_domain(Domain& domain) {
    auto* policy = heap::create<CpuPolicy>(pv_default_policy);
    if (!policy) return Errno::kENOMEM;
    // Domain 0 does not migrate, so it may know that the TSC never changes its pace.
    if (domain.is_hardware && host_policy.has(XEN_X86_FEATURE_ITSC)) {
        Featureset words = policy->featureset();
        assign(words, XEN_X86_FEATURE_ITSC, true);
        policy->set_featureset(words);
    }
    domain.arch.cpu_policy = policy;
    return {};
}

void destroy_domain(Domain& domain) {
    heap::destroy(domain.arch.cpu_policy);
    domain.arch.cpu_policy = nullptr;
}

Result<> sysctl_get(xen_sysctl_cpu_policy& op) {
    if (op._rsvd) return Errno::kEINVAL;
    return get(*TRY(system(op.index)), op);
}

Result<> sysctl_get_featureset(xen_sysctl_cpu_featureset& op) {
    constexpr uint32_t kPolicyOf[] = {
        XEN_SYSCTL_cpu_policy_raw,        XEN_SYSCTL_cpu_policy_host,
        XEN_SYSCTL_cpu_policy_pv_default, XEN_SYSCTL_cpu_policy_hvm_default,
        XEN_SYSCTL_cpu_policy_pv_max,     XEN_SYSCTL_cpu_policy_hvm_max,
    };
    if (op.index >= std::size(kPolicyOf)) return Errno::kEINVAL;
    const CpuPolicy* policy = TRY(system(kPolicyOf[op.index]));
    GuestOut<uint32_t> out(op.features);
    uint32_t room = op.nr_features;
    op.nr_features = kFeatureWords;
    if (out.is_null()) return {};
    Featureset words = policy->featureset();
    uint32_t count = room < kFeatureWords ? room : kFeatureWords;
    TRY(out.store_many(std::span<const uint32_t>(words.data(), count)));
    op.nr_features = count;
    if (count < kFeatureWords) return Errno::kENOBUFS;
    return {};
}

Result<> domctl_get(const Domain& domain, xen_domctl_cpu_policy& op) {
    return get(*domain.arch.cpu_policy, op);
}

Result<> domctl_set(Domain& domain, xen_domctl_cpu_policy& op) {
    Objection objection;
    Result<> result = set(*domain.arch.cpu_policy, op, objection);
    op.err_leaf = objection.leaf;
    op.err_subleaf = objection.subleaf;
    op.err_msr = objection.msr;
    return result;
}

}  // namespace hv::arch::cpu_policy
