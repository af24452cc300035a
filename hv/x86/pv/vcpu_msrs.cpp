#include "hv/x86/pv/vcpu_msrs.hpp"

#include <xen/arch-x86/cpufeatureset.h>

#include "hv/domain/domain.hpp"
#include "hv/x86/cpu/msr_numbers.hpp"
#include "hv/x86/cpu/policy.hpp"

namespace hv::pv {

namespace {

namespace msr = guest_msr;

constexpr uint32_t kNumbers[] = {msr::kMiscFeaturesEnables, msr::kTscAux,
                                 msr::kDr0AddressMask,      msr::kDr1AddressMask,
                                 msr::kDr1AddressMask + 1,  msr::kDr3AddressMask};

constexpr uint64_t kCpuidFaulting = 1;
constexpr uint32_t kPlatformCpuidFaulting = 1u << 31;

bool has(const Vcpu& vcpu, uint32_t feature) {
    return vcpu.domain->arch.cpu_policy->has(feature);
}
bool has_tsc_aux(const Vcpu& vcpu) {
    return has(vcpu, XEN_X86_FEATURE_RDTSCP) || has(vcpu, XEN_X86_FEATURE_RDPID);
}

}  // namespace

std::span<const uint32_t> state_msrs() {
    return kNumbers;
}

uint64_t state_msr(const Vcpu& vcpu, uint32_t number) {
    const arch::PvVcpu& pv = vcpu.arch.pv;
    switch (number) {
        case msr::kMiscFeaturesEnables:
            return pv.misc_features;
        case msr::kTscAux:
            return has_tsc_aux(vcpu) ? pv.tsc_aux : 0;
        default:
            return 0;  // masks of breakpoint addresses cannot be set by guests
    }
}

Result<> set_state_msr(Vcpu& vcpu, uint32_t number, uint64_t value) {
    arch::PvVcpu& pv = vcpu.arch.pv;
    if (number == msr::kMiscFeaturesEnables) {
        const bool can = vcpu.domain->arch.cpu_policy->platform_info & kPlatformCpuidFaulting;
        if (value & ~(can ? kCpuidFaulting : 0)) return Errno::kEINVAL;
        pv.misc_features = value;
        return {};
    }
    if (number == msr::kTscAux) {
        if (!has_tsc_aux(vcpu) || value >> 32) return Errno::kEINVAL;
        pv.tsc_aux = static_cast<uint32_t>(value);
        return {};
    }
    for (const uint32_t known : kNumbers)
        if (known == number && value == 0) return {};
    return Errno::kEINVAL;
}

}  // namespace hv::pv
