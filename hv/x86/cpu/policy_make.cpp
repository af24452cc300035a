// From what the machine has to what guests may see.
#include <algorithm>

#include <xen/arch-x86/cpufeatureset.h>

#include "hv/x86/cpu/feature_sets.hpp"
#include "hv/x86/cpu/policy.hpp"
#include "hv/x86/cpu/vendor.hpp"
#include "hv/x86/cpu/xsave.hpp"

namespace hv::arch {

Featureset CpuPolicy::featureset() const {
    return {basic[1].d,
            basic[1].c,
            extended[1].d,
            extended[1].c,
            xstate[1].a,
            features[0].b,
            features[0].c,
            extended[7].d,
            extended[8].b,
            features[0].d,
            features[1].a,
            extended[0x21].a,
            features[1].b,
            features[2].d,
            features[1].c,
            features[1].d,
            static_cast<uint32_t>(arch_caps),
            static_cast<uint32_t>(arch_caps >> 32),
            extended[0x21].c};
}

void CpuPolicy::set_featureset(const Featureset& words) {
    uint32_t low = 0, high = 0;
    uint32_t* const places[kFeatureWords] = {
        &basic[1].d,    &basic[1].c,    &extended[1].d,   &extended[1].c,
        &xstate[1].a,   &features[0].b, &features[0].c,   &extended[7].d,
        &extended[8].b, &features[0].d, &features[1].a,   &extended[0x21].a,
        &features[1].b, &features[2].d, &features[1].c,   &features[1].d,
        &low,           &high,          &extended[0x21].c};
    for (size_t i = 0; i < kFeatureWords; ++i) *places[i] = words[i];
    arch_caps = (uint64_t{high} << 32) | low;
}

bool CpuPolicy::has(uint32_t feature) const {
    switch (feature / 32) {  // the words that are asked for often; no copy of all of them
        case cpu_policy::kWord1d:
            return (basic[1].d >> (feature % 32)) & 1;
        case cpu_policy::kWord1c:
            return (basic[1].c >> (feature % 32)) & 1;
        case cpu_policy::kWordE1d:
            return (extended[1].d >> (feature % 32)) & 1;
        case cpu_policy::kWord7b0:
            return (features[0].b >> (feature % 32)) & 1;
        default:
            return cpu_policy::test(featureset(), feature);
    }
}

namespace cpu_policy {
namespace {

/// AMD repeats these bits of leaf 1's edx in leaf 0x80000001's; featuresets have them once.
constexpr uint32_t kCommon1d = 0x0183f3ff;
constexpr size_t kLegacyAndHeader = 576;
constexpr size_t kXstateLeaves = sizeof(CpuPolicy::xstate) / sizeof(CpuidLeaf);
constexpr uint64_t kLinearBits64 = 48;

void clear(CpuidLeaf* leaves, size_t first, size_t last) {
    for (size_t i = first; i <= last; ++i) leaves[i] = {};
}

/// XCR0's components that the features call for.
uint64_t components_of(const Featureset& set) {
    if (!test(set, XEN_X86_FEATURE_XSAVE)) return 0;
    uint64_t components = xcr0::kX87 | xcr0::kSse;
    if (test(set, XEN_X86_FEATURE_AVX)) components |= xcr0::kAvx;
    if (test(set, XEN_X86_FEATURE_AVX512F)) components |= xcr0::kAvx512;
    return components;
}

/// Leaf 0xd anew from the features. `sizes`: a policy that has the machine's component sizes.
void recalculate_xstate(CpuPolicy& policy, const CpuPolicy& sizes) {
    Featureset set = policy.featureset();
    uint64_t components = components_of(set) & xcr0::kSupported;
    uint32_t bytes = components ? kLegacyAndHeader : 0;
    uint32_t extensions = components ? set[kWordDa1] : 0;
    CpuidLeaf kept[kXstateLeaves] = {};
    for (size_t i = 2; i < kXstateLeaves; ++i) {
        if (!((components >> i) & 1)) continue;
        kept[i] = sizes.xstate[i];
        bytes = std::max(bytes, kept[i].a + kept[i].b);
    }
    kept[0] = {.a = static_cast<uint32_t>(components),
               .b = 0,
               .c = bytes,
               .d = static_cast<uint32_t>(components >> 32)};
    kept[1] = {.a = extensions};
    std::copy(std::begin(kept), std::end(kept), policy.xstate);
}

/// Leaves that describe this machine rather than a capability, or that are reserved.
void hide_machine(CpuPolicy& p) {
    constexpr uint32_t kFamilyModelStepping = 0x0fff0fff, kCacheLineAndLogicalCpus = 0x00ffff00;
    p.basic[1].a &= kFamilyModelStepping;
    p.basic[1].b &= kCacheLineAndLogicalCpus;
    clear(p.basic, 3, 3);    // serial number
    clear(p.basic, 5, 6);    // MONITOR, thermal and power
    clear(p.basic, 8, 0xc);  // direct cache access, performance counters, topology
    clear(p.topology, 0, std::size(p.topology) - 1);

    p.extended[1].d &= ~kCommon1d;
    p.extended[7].a = p.extended[7].b = p.extended[7].c = 0;
    p.extended[8].a &= 0xffff;  // without the width for guests
    p.extended[8].d = 0;
    clear(p.extended, 0xa, 0x18);   // SVM, reserved
    clear(p.extended, 0x1b, 0x20);  // IBS, LWP, topology, encryption, QoS
    p.extended[0x21].b = p.extended[0x21].d = 0;
}

void apply_vendor(CpuPolicy& p) {
    if (vendor_of(p) == Vendor::kIntel) {
        p.extended[0].b = p.extended[0].c = p.extended[0].d = 0;
        p.extended[1].a = p.extended[1].b = 0;
        clear(p.extended, 5, 5);
        p.extended[8].c = 0;
        return;
    }
    constexpr uint32_t kCoresAndIdSize = 0x0003f0ff;
    clear(p.basic, 2, 2);
    clear(p.cache, 0, std::size(p.cache) - 1);
    p.extended[0].b = p.basic[0].b;
    p.extended[0].c = p.basic[0].c;
    p.extended[0].d = p.basic[0].d;
    p.extended[1].a = p.basic[1].a;
    p.extended[1].b &= 0xff00ffff;
    p.extended[1].d |= p.basic[1].d & kCommon1d;
    p.extended[8].c &= kCoresAndIdSize;
    p.extended[9] = {};
}

/// Nothing lies beyond the last leaf that a policy says it has.
void clear_beyond_limits(CpuPolicy& p) {
    for (size_t i = p.basic[0].a + size_t{1}; i < std::size(p.basic); ++i) p.basic[i] = {};
    for (size_t i = p.features[0].a + size_t{1}; i < std::size(p.features); ++i) p.features[i] = {};
    for (size_t i = (p.extended[0].a & 0xffff) + size_t{1}; i < std::size(p.extended); ++i)
        p.extended[i] = {};
    if (p.basic[0].a < 7) clear(p.features, 0, std::size(p.features) - 1);
    if (p.basic[0].a < 0xd) clear(p.xstate, 0, std::size(p.xstate) - 1);
}

uint32_t last_extended(const CpuPolicy& p) {
    return std::min<uint32_t>(p.extended[0].a & 0xffff, std::size(p.extended) - 1) | 0x80000000;
}

void common_adjustments(Featureset& set) {
    assign(set, XEN_X86_FEATURE_HYPERVISOR, true);
    // MSR_SPEC_CTRL is not switched for PV guests, so what it controls is not theirs to see.
    assign(set, XEN_X86_FEATURE_IBRSB, false);
    assign(set, XEN_X86_FEATURE_IBRS, false);
    // The guest's kernel runs in ring 3: what is said of the user/supervisor border is not so.
    assign(set, XEN_X86_FEATURE_SRSO_US_NO, false);
}

void apply(CpuPolicy& p, Featureset& set, const CpuPolicy& sizes) {
    clear_dependents(set);
    p.set_featureset(set);
    recalculate_xstate(p, sizes);
    apply_vendor(p);
}

}  // namespace

CpuPolicy make_host(const CpuPolicy& raw) {
    CpuPolicy p = raw;
    p.basic[0].a = std::min<uint32_t>(p.basic[0].a, std::size(p.basic) - 1);
    p.features[0].a = std::min<uint32_t>(p.features[0].a, std::size(p.features) - 1);
    p.extended[0].a = last_extended(p);
    clear_beyond_limits(p);
    Featureset set = p.featureset();
    if (vendor_of(p) == Vendor::kAmd) {
        set[kWordE1d] &= ~kCommon1d;
        assign(set, XEN_X86_FEATURE_SEP, false);  // AMD has no SYSENTER in long mode
    }
    // Component by component, what we do not save is not there.
    uint64_t offered = raw.xcr0_max();
    if ((offered & xcr0::kAvx512) != xcr0::kAvx512) assign(set, XEN_X86_FEATURE_AVX512F, false);
    if (!(offered & xcr0::kAvx)) assign(set, XEN_X86_FEATURE_AVX, false);
    clear_dependents(set);
    p.set_featureset(set);
    recalculate_xstate(p, raw);
    return p;
}

CpuPolicy make_pv_max(const CpuPolicy& host) {
    CpuPolicy p = host;
    hide_machine(p);
    // A guest that comes from another machine may have seen more leaves.
    p.basic[0].a = std::size(p.basic) - 1;
    p.features[0].a = std::size(p.features) - 1;
    p.extended[0].a = 0x80000000 | (std::size(p.extended) - 1);

    Featureset set = host.featureset();
    for (size_t i = 0; i < set.size(); ++i) set[i] &= pv_max_mask()[i];
    common_adjustments(set);
    // Topology is the tools' business, and these two make parts of it valid; the others promise
    // nothing that could break when the machine has them not.
    assign(set, XEN_X86_FEATURE_HTT, true);
    assign(set, XEN_X86_FEATURE_CMP_LEGACY, true);
    assign(set, XEN_X86_FEATURE_ERMS, true);
    assign(set, XEN_X86_FEATURE_X2APIC, true);  // older hypervisors let PV guests see it
    if (vendor_of(p) == Vendor::kIntel) {
        for (uint32_t f :
             {XEN_X86_FEATURE_ARCH_CAPS, XEN_X86_FEATURE_RSBA, XEN_X86_FEATURE_MD_CLEAR,
              XEN_X86_FEATURE_FB_CLEAR, XEN_X86_FEATURE_RFDS_CLEAR})
            assign(set, f, true);
    } else {
        assign(set, XEN_X86_FEATURE_VERW_CLEAR, true);
    }
    apply(p, set, host);
    return p;
}

CpuPolicy make_pv_default(const CpuPolicy& pv_max, const CpuPolicy& host) {
    CpuPolicy p = pv_max;
    p.basic[0].a = host.basic[0].a;
    p.features[0].a = host.features[0].a;
    p.extended[0].a = host.extended[0].a;
    clear_beyond_limits(p);
    Featureset set = p.featureset();
    for (size_t i = 0; i < set.size(); ++i) set[i] &= pv_default_mask()[i];
    common_adjustments(set);
    // What max allows whether or not the machine has it.
    for (uint32_t f :
         {XEN_X86_FEATURE_HTT, XEN_X86_FEATURE_CMP_LEGACY, XEN_X86_FEATURE_ERMS,
          XEN_X86_FEATURE_MD_CLEAR, XEN_X86_FEATURE_FB_CLEAR, XEN_X86_FEATURE_RFDS_CLEAR,
          XEN_X86_FEATURE_VERW_CLEAR, XEN_X86_FEATURE_ARCH_CAPS})
        if (!host.has(f)) assign(set, f, false);
    apply(p, set, host);
    return p;
}

void sanitise(CpuPolicy& guest, const CpuPolicy& max, const CpuPolicy& host) {
    hide_machine(guest);
    guest.basic[0].a = std::min(guest.basic[0].a, max.basic[0].a);
    guest.features[0].a = std::min(guest.features[0].a, max.features[0].a);
    guest.extended[0].a = std::min(last_extended(guest), max.extended[0].a);
    clear_beyond_limits(guest);

    Featureset set = guest.featureset(), bound = max.featureset();
    for (size_t i = 0; i < set.size(); ++i) set[i] &= bound[i];
    // How the FPU of this machine behaves cannot be hidden.
    for (uint32_t f : {XEN_X86_FEATURE_FDP_EXCP_ONLY, XEN_X86_FEATURE_NO_FPU_SEL})
        assign(set, f, host.has(f));
    guest.platform_info &= max.platform_info;
    uint32_t physical_bits = std::min(guest.extended[8].a & 0xff, max.extended[8].a & 0xff);
    guest.extended[8].a = physical_bits | (kLinearBits64 << 8);
    apply(guest, set, max);
}

}  // namespace cpu_policy
}  // namespace hv::arch
