// CR0 to CR4 and XCR0 as a PV guest sees them, and what its choice makes of the real ones.
#pragma once

#include "hv/domain/vcpu.hpp"
#include "hv/x86/cpu/bits.hpp"

namespace hv::pv {

/// CR0 as every PV guest reads it, but for TS.
inline constexpr uint64_t kVisibleCr0 =
    cr0::kPg | cr0::kAm | cr0::kWp | cr0::kNe | cr0::kEt | cr0::kMp | cr0::kPe;
/// CR4: what the guest may choose, and what it may see of the hypervisor's choice.
inline constexpr uint64_t kGuestCr4 = cr4::kTsd | cr4::kDe | cr4::kFsgsbase | cr4::kOsxsave;
inline constexpr uint64_t kVisibleCr4 = cr4::kPae | cr4::kMce | cr4::kOsfxsr | cr4::kOsxmmexcpt;

/// CR0 as the guest, and who asks for its context, is to see it.
inline uint64_t guest_cr0(const arch::PvVcpu& pv) {
    return kVisibleCr0 | (pv.cr0_guest & cr0::kTs);
}

/// What a guest's CR4 becomes when it asks for `wanted` (mov, vcpu_guest_context): bits that are
/// not its to choose, or not in its CPU policy, are ignored.
uint64_t guest_cr4(const Vcpu& vcpu, uint64_t wanted);
/// The CR4 to run `vcpu` with, from the hypervisor's own: to be loaded when it is switched in.
uint64_t real_cr4(const Vcpu& vcpu, uint64_t own);

/// mov from and to a control register by the current vCPU's kernel. False: #GP for the guest.
bool read_control_register(Vcpu& vcpu, unsigned number, uint64_t& value);
bool write_control_register(Vcpu& vcpu, unsigned number, uint64_t value);  ///< but CR3
/// mov to CR3, as MMUEXT_NEW_BASEPTR. kERESTART: interrupted, to be done again.
Result<> load_base_pointer(Vcpu& vcpu, uint64_t cr3);

}  // namespace hv::pv
