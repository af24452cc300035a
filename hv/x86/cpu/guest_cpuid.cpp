// CPUID as a guest gets it: its domain's policy, and what depends on the moment.
#include <algorithm>

#include <xen/arch-x86/cpufeatureset.h>
#include <xen/arch-x86/cpuid.h>

#include "hv/domain/domain.hpp"
#include "hv/x86/arch/memory.hpp"
#include "hv/x86/arch/time.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/cpu/policy.hpp"
#include "hv/x86/cpu/xsave.hpp"

namespace hv::arch::cpu_policy {
namespace {

constexpr uint32_t kXenBase = 0x40000000;
constexpr uint32_t kXenMajor = 4, kXenMinor = 17;
constexpr uint32_t kHypercallMsrBase = 0x40000000;
constexpr uint32_t kXsaveLegacyBytes = 576;

/// TSC ticks to nanoseconds: ((ticks << shift) * multiplier) >> 32, as pvclock scales.
struct Scale {
    uint32_t multiplier;
    int8_t shift;
};
Scale scale_of(uint64_t khz) {
    uint64_t hz = khz * 1000;
    int8_t shift = 0;
    while (hz > 2 * uint64_t{kSecond}) hz >>= 1, --shift;
    while (hz && hz <= uint64_t{kSecond}) hz <<= 1, ++shift;
    if (!hz) return {0, 0};
    return {static_cast<uint32_t>((uint64_t{kSecond} << 32) / hz), shift};
}

/// Leaf 3: what the guest may believe of its TSC.
CpuidLeaf time_leaf(const Domain& domain, uint32_t subleaf) {
    auto khz = static_cast<uint32_t>(tsc_khz());
    switch (subleaf) {
        case 0: {
            constexpr uint32_t kHostTscReliable = 2, kRdtscp = 4;
            uint32_t flags = (host().has(XEN_X86_FEATURE_ITSC) ? kHostTscReliable : 0) |
                             (host().has(XEN_X86_FEATURE_RDTSCP) ? kRdtscp : 0);
            return {flags, domain.tsc_mode, khz, domain.tsc_incarnation};
        }
        case 1: {
            Scale scale = scale_of(khz);
            return {0, 0, scale.multiplier, static_cast<uint32_t>(scale.shift)};
        }
        case 2:
            return {.a = khz};
        default:
            return {};
    }
}

/// The Xen leaves (<xen/arch-x86/cpuid.h>). 4 is about hardware virtualisation: empty for PV.
CpuidLeaf xen_leaf(const Domain& domain, uint32_t index, uint32_t subleaf) {
    uint32_t limit = domain.arch.cpu_policy->hv_limit;
    limit =
        limit ? std::clamp<uint32_t>(limit, 2, XEN_CPUID_MAX_NUM_LEAVES) : XEN_CPUID_MAX_NUM_LEAVES;
    if (index > limit) return {};
    switch (index) {
        case 0:
            return {kXenBase + limit, XEN_CPUID_SIGNATURE_EBX, XEN_CPUID_SIGNATURE_ECX,
                    XEN_CPUID_SIGNATURE_EDX};
        case 1:
            return {.a = kXenMajor << 16 | kXenMinor};
        case 2:
            return {1, kHypercallMsrBase, XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD, 0};
        case 3:
            return time_leaf(domain, subleaf);
        case 5: {
            uint32_t address_bits = domain.arch.cpu_policy->extended[8].a & 0xff;
            return subleaf ? CpuidLeaf{} : CpuidLeaf{.b = address_bits};
        }
        default:
            return {};
    }
}

template <size_t N>
CpuidLeaf pick(const CpuidLeaf (&leaves)[N], uint32_t index) {
    return index < N ? leaves[index] : CpuidLeaf{};
}

CpuidLeaf basic_leaf(const CpuPolicy& p, uint32_t leaf, uint32_t subleaf) {
    if (leaf > p.basic[0].a) return {};
    switch (leaf) {
        case 4:
            return pick(p.cache, subleaf);
        case 7:
            return subleaf <= p.features[0].a ? pick(p.features, subleaf) : CpuidLeaf{};
        case 0xb:
            return pick(p.topology, subleaf);
        case 0xd:
            return pick(p.xstate, subleaf);
        default:
            return pick(p.basic, leaf);
    }
}

uint32_t standard_size(const CpuPolicy& p, uint64_t components) {
    uint32_t bytes = kXsaveLegacyBytes;
    for (unsigned i = 2; i < std::size(p.xstate); ++i)
        if ((components >> i) & 1) bytes = std::max(bytes, p.xstate[i].a + p.xstate[i].b);
    return bytes;
}
uint32_t compact_size(const CpuPolicy& p, uint64_t components) {
    constexpr uint32_t kAligned = 2;  // in ecx
    uint32_t bytes = kXsaveLegacyBytes;
    for (unsigned i = 2; i < std::size(p.xstate); ++i) {
        if (!((components >> i) & 1)) continue;
        if (p.xstate[i].c & kAligned) bytes = (bytes + 63) & ~63u;
        bytes += p.xstate[i].a;
    }
    return bytes;
}

/// OSXSAVE is CR4's bit. Linux decides by it, before it has set CR4, whether XSAVE may be used at
/// all, and has learned that a Xen PV guest finds it set: shown so to the kernel's own question.
bool shows_osxsave(const Vcpu& vcpu, bool enlightened) {
    if (vcpu.arch.pv.cr4_guest & cr4::kOsxsave) return true;
    return enlightened && vcpu.arch.pv.kernel_mode &&
           vcpu.domain->arch.cpu_policy->has(XEN_X86_FEATURE_XSAVE);
}

void add_dynamic(const Vcpu& vcpu, uint32_t leaf, uint32_t subleaf, bool enlightened,
                 CpuidLeaf& answer) {
    const CpuPolicy& p = *vcpu.domain->arch.cpu_policy;
    if (leaf == 1 && shows_osxsave(vcpu, enlightened))
        answer.c |= 1u << (XEN_X86_FEATURE_OSXSAVE % 32);
    if (leaf != 0xd || !p.xcr0_max()) return;
    if (subleaf == 0) answer.b = standard_size(p, vcpu.arch.xcr0);
    constexpr uint32_t kXsavec = 2;  // in eax
    if (subleaf == 1 && answer.a & kXsavec) answer.b = compact_size(p, vcpu.arch.xcr0);
}

}  // namespace

CpuidLeaf guest_cpuid(const Vcpu& vcpu, uint32_t leaf, uint32_t subleaf, bool enlightened) {
    const CpuPolicy& p = *vcpu.domain->arch.cpu_policy;
    if (leaf >= kXenBase && leaf < kXenBase + 0x100)
        return xen_leaf(*vcpu.domain, leaf - kXenBase, subleaf);
    if (leaf >= 0x80000000)
        return leaf <= p.extended[0].a ? pick(p.extended, leaf & 0x7fffffff) : CpuidLeaf{};
    CpuidLeaf answer = basic_leaf(p, leaf, subleaf);
    add_dynamic(vcpu, leaf, subleaf, enlightened, answer);
    return answer;
}

}  // namespace hv::arch::cpu_policy
