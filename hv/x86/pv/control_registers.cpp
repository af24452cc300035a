#include "hv/x86/pv/control_registers.hpp"

#include <xen/arch-x86/cpufeatureset.h>

#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/x86/arch/cpu.hpp"
#include "hv/x86/cpu/fpu.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/policy.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/pin.hpp"

namespace hv::pv {

uint64_t guest_cr4(const Vcpu& vcpu, uint64_t wanted) {
    const arch::CpuPolicy& policy = *vcpu.domain->arch.cpu_policy;
    uint64_t allowed = 0;
    if (policy.has(XEN_X86_FEATURE_TSC)) allowed |= cr4::kTsd;
    if (policy.has(XEN_X86_FEATURE_DE)) allowed |= cr4::kDe;
    if (policy.has(XEN_X86_FEATURE_FSGSBASE)) allowed |= cr4::kFsgsbase;
    if (policy.has(XEN_X86_FEATURE_XSAVE)) allowed |= cr4::kOsxsave;
    return (wanted & allowed) | kVisibleCr4;
}

// OSXSAVE stays on, since the hypervisor uses it: the guest's wish shows in what it reads back, in
// its CPUID, and in whether it may write XCR0.
uint64_t real_cr4(const Vcpu& vcpu, uint64_t own) {
    constexpr uint64_t kGuestDecides = cr4::kTsd | cr4::kDe | cr4::kFsgsbase;
    return (own & ~kGuestDecides) | (vcpu.arch.pv.cr4_guest & kGuestDecides);
}

bool read_control_register(Vcpu& vcpu, unsigned number, uint64_t& value) {
    const arch::PvVcpu& pv = vcpu.arch.pv;
    switch (number) {
        case 0:
            value = guest_cr0(pv);
            return true;
        case 2:
            value = pv.cr2_guest;
            return true;
        case 3:
            value = address_of(pv.kernel_table);
            return true;  // xen_pfn_to_cr3()
        case 4:
            value = pv.cr4_guest;
            return true;
        default:
            return false;
    }
}

namespace {

// Only TS is the guest's; Linux writes back what it read, with TS changed.
bool write_cr0(Vcpu& vcpu, uint64_t value) {
    if ((value ^ kVisibleCr0) & ~cr0::kTs) {
        guest_log(LogLevel::kWarning, "write of CR0 {:x} refused: only TS may change", value);
        return false;
    }
    arch::fpu::set_guest_ts(vcpu, value & cr0::kTs);
    return true;
}

void write_cr2(Vcpu& vcpu, uint64_t value) {
    vcpu.arch.pv.cr2_guest = value;
    if (vcpu_info* info = vcpu.info.load(std::memory_order_relaxed)) info->arch.cr2 = value;
}

bool write_cr4(Vcpu& vcpu, uint64_t value) {
    vcpu.arch.pv.cr4_guest = guest_cr4(vcpu, value);
    cpu::write_cr4(real_cr4(vcpu, cpu::read_cr4()));
    return true;
}

}  // namespace

Result<> load_base_pointer(Vcpu& vcpu, uint64_t cr3) {
    TRY(finish_parked(vcpu));
    return new_base_pointer(mfn_of(cr3));
}

bool write_control_register(Vcpu& vcpu, unsigned number, uint64_t value) {
    switch (number) {
        case 0:
            return write_cr0(vcpu, value);
        case 2:
            write_cr2(vcpu, value);
            return true;
        case 4:
            return write_cr4(vcpu, value);
        default:
            return false;
    }
}

}  // namespace hv::pv

namespace hv {

/// HYPERVISOR_fpu_taskswitch(set): the guest's CR0.TS (arch-x86/xen.h).
Outcome do_fpu_taskswitch(uint64_t set, uint64_t, uint64_t, uint64_t, uint64_t) {
    arch::fpu::set_guest_ts(arch::current(), static_cast<uint32_t>(set) != 0);
    return Outcome{0};
}

}  // namespace hv
