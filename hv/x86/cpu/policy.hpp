// What CPUID and MSRs say: of the machine, of what guests may see at most and see by default, and
// of each domain.
//
//   raw ──(what we use)──▶ host ──(annotations of cpufeatureset.h)──▶ PV max ──▶ PV default
//                                                                       │           │ copied by
//                                                      bounds what ─────┘           ▼ create
//                                                      the tools may set ─▶ a domain's policy
//
// The annotations: A all guests, S and H hardware virtualised ones only, lower case on request
// only, ! the hypervisor decides. The featureset is the same bits as words, in the order of
// <xen/arch-x86/cpufeatureset.h>; the tools read and compare it in that form.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include <xen/arch-x86/xen.h>
#include <xen/xen.h>

#include "base/result.hpp"
#include "hv/limits.hpp"

struct xen_sysctl_cpu_policy;
struct xen_sysctl_cpu_featureset;
struct xen_domctl_cpu_policy;

namespace hv {
struct Domain;
struct Vcpu;

namespace arch {

struct CpuidLeaf {
    uint32_t a = 0, b = 0, c = 0, d = 0;
    friend bool operator==(const CpuidLeaf&, const CpuidLeaf&) = default;
};

/// The number of words of a featureset, as 4.17.7 and its libxc have it.
inline constexpr size_t kFeatureWords = 19;
using Featureset = std::array<uint32_t, kFeatureWords>;

struct CpuPolicy {
    CpuidLeaf basic[0xe] = {};      ///< 0 … 0xd; 4, 7, 0xb and 0xd have sub-leaves, kept below
    CpuidLeaf cache[6] = {};        ///< leaf 4
    CpuidLeaf features[3] = {};     ///< leaf 7
    CpuidLeaf topology[2] = {};     ///< leaf 0xb
    CpuidLeaf xstate[63] = {};      ///< leaf 0xd
    CpuidLeaf extended[0x22] = {};  ///< 0x80000000 … 0x80000021
    uint32_t platform_info = 0;     ///< MSR 0xce; bit 31: CPUID can be made to fault
    uint64_t arch_caps = 0;         ///< MSR 0x10a, words 16 and 17 of the featureset
    uint8_t hv_limit = 0;           ///< how many Xen leaves the tools want shown; 0: all
    uint8_t hv2_limit = 0;          ///< the same at 0x40000100, with viridian leaves in front

    Featureset featureset() const;
    void set_featureset(const Featureset& words);
    /// A bit of <xen/arch-x86/cpufeatureset.h>: `has(XEN_X86_FEATURE_XSAVE)`.
    bool has(uint32_t feature) const;
    /// What XCR0 may hold (leaf 0xd).
    uint64_t xcr0_max() const { return (uint64_t{xstate[0].d} << 32) | xstate[0].a; }
};

namespace cpu_policy {

/// The most entries that a serialised policy has (what SYSCTL_get_cpu_policy says for no buffer).
inline constexpr uint32_t kMaxLeaves = 0xe + (6 - 1) + (3 - 1) + (2 - 1) + (63 - 1) + 0x22 + 2;
inline constexpr uint32_t kMaxMsrs = 2;

/// What objects to a policy: the leaf or the MSR; ~0 for those that are not at fault.
struct Objection {
    uint32_t leaf = ~0u, subleaf = ~0u, msr = ~0u;
};

/// Once at boot, on the boot CPU, before fpu::init_cpu() and before the first domain.
void init();
/// On each CPU that comes up: has CPUID in guests fault where the CPU can do that.
void init_cpu();

/// The policy of XEN_SYSCTL_cpu_policy_*. kEINVAL: no such index; kEOPNOTSUPP: a guest type that
/// this hypervisor does not run.
Result<const CpuPolicy*> system(uint32_t index);
/// What the machine has and the hypervisor uses (index host); valid after init().
const CpuPolicy& host();

/// Gives a new domain the default policy of its type (Domain 0: all it may have). kENOMEM.
Result<> init_domain(Domain& domain);
void destroy_domain(Domain& domain);

/// XEN_SYSCTL_get_cpu_policy. Counts in `op` are the entries written on success. kENOBUFS: the
/// caller's arrays are too small; kEFAULT.
Result<> sysctl_get(xen_sysctl_cpu_policy& op);
/// XEN_SYSCTL_get_cpu_featureset. `op.nr_features` becomes the number of words; kENOBUFS when
/// there were more than asked for (the first ones are written), as the tools expect.
Result<> sysctl_get_featureset(xen_sysctl_cpu_featureset& op);
/// XEN_DOMCTL_get_cpu_policy.
Result<> domctl_get(const Domain& domain, xen_domctl_cpu_policy& op);
/// XEN_DOMCTL_set_cpu_policy: merges the given leaves and MSRs into the domain's policy. On an
/// objection `op.err_*` says to what (write `op` back also on failure). The domain must not have
/// run yet: the caller answers kEEXIST otherwise.
Result<> domctl_set(Domain& domain, xen_domctl_cpu_policy& op);

/// What CPUID answers to `vcpu`. `enlightened`: asked by the forced-emulation prefix, which a PV
/// kernel uses; it then sees OSXSAVE as soon as the hypervisor uses XSAVE (Linux relies on it).
CpuidLeaf guest_cpuid(const Vcpu& vcpu, uint32_t leaf, uint32_t subleaf, bool enlightened);

// --- the pure part, for the above and for tests ---

/// Writes `policy` as leaves in order of (leaf, subleaf); kENOBUFS. Returns how many.
Result<uint32_t> serialise(const CpuPolicy& policy, std::span<xen_cpuid_leaf_t> into);
Result<uint32_t> serialise(const CpuPolicy& policy, std::span<xen_msr_entry_t> into);
/// Takes one entry over into `policy`; kERANGE: no such leaf or MSR, kEINVAL: flags, kEOVERFLOW.
Result<> merge(CpuPolicy& policy, const xen_cpuid_leaf_t& entry);
Result<> merge(CpuPolicy& policy, const xen_msr_entry_t& entry);
/// kEINVAL, and what objects, unless a guest with `guest` can run where `max` is what there is.
Result<> check_compatible(const CpuPolicy& max, const CpuPolicy& guest, Objection& objection);
/// Clips whatever the tools wrote to what `max` allows and makes it consistent.
void sanitise(CpuPolicy& guest, const CpuPolicy& max, const CpuPolicy& host);
/// The PV policies from the machine's raw one.
CpuPolicy make_host(const CpuPolicy& raw);
CpuPolicy make_pv_max(const CpuPolicy& host);
CpuPolicy make_pv_default(const CpuPolicy& pv_max, const CpuPolicy& host);

}  // namespace cpu_policy
}  // namespace arch
}  // namespace hv
