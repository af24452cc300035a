#include "hv/x86/pv/msr.hpp"

#include <xen/arch-x86/cpufeatureset.h>
#include <xen/arch-x86/cpuid.h>

#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/msr_numbers.hpp"
#include "hv/x86/cpu/native.hpp"
#include "hv/x86/cpu/policy.hpp"

namespace hv::pv {
namespace {

namespace msr = guest_msr;

constexpr uint64_t kEferVisible = 0x4d01;  // SCE, LME, LMA, NXE, FFXSR
constexpr uint64_t kCpuidFaulting = 1;
constexpr uint32_t kPlatformCpuidFaulting = 1u << 31;
/// WB WT UC- UC WC WP: the hypervisor's PAT (entries 4 and 5 differ from power-on), which all
/// page tables on the machine are made for.
constexpr uint64_t kHypervisorPat = 0x050100070406;

using Read = bool (*)(Vcpu&, uint32_t number, uint64_t& value);
using Write = bool (*)(Vcpu&, uint32_t number, uint64_t value);

bool has(const Vcpu& vcpu, uint32_t feature) {
    return vcpu.domain->arch.cpu_policy->has(feature);
}
bool is_canonical(uint64_t address) {
    return static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16) == address;
}

// --- what a row can do ---

bool zero(Vcpu&, uint32_t, uint64_t& value) {
    value = 0;
    return true;
}
bool discard(Vcpu&, uint32_t, uint64_t) {
    return true;
}

bool read_apic_base(Vcpu& vcpu, uint32_t, uint64_t& value) {
    constexpr uint64_t kEnabled = 1 << 11, kBootCpu = 1 << 8, kDefaultBase = 0xfee00000;
    value = kDefaultBase | kEnabled | (vcpu.id == VcpuId{0} ? kBootCpu : 0);
    return true;
}

bool read_tsc(Vcpu&, uint32_t, uint64_t& value) {
    value = native::rdtsc();
    return true;
}

bool read_efer(Vcpu&, uint32_t, uint64_t& value) {
    value = arch::read_msr(0xc0000080) & kEferVisible;
    return true;
}
/// Linux writes back what it read; nothing may change.
bool write_efer(Vcpu& vcpu, uint32_t number, uint64_t value) {
    uint64_t now;
    return read_efer(vcpu, number, now) && value == now;
}

bool read_pat(Vcpu&, uint32_t, uint64_t& value) {
    value = kHypervisorPat;
    return true;
}

/// FS and GS of the running vCPU are in the CPU. The guest's kernel mode has its own GS base
/// active, that of user mode in the shadow (KERNEL_GS_BASE).
bool read_base(Vcpu& vcpu, uint32_t number, uint64_t& value) {
    value = number == msr::kKernelGsBase ? vcpu.arch.pv.gs_base_user : arch::read_msr(number);
    return true;
}
bool write_base(Vcpu& vcpu, uint32_t number, uint64_t value) {
    if (!is_canonical(value)) return false;
    arch::PvVcpu& pv = vcpu.arch.pv;
    if (number == msr::kFsBase)
        pv.fs_base = value;
    else if (number == msr::kGsBase)
        pv.gs_base_kernel = value;
    else
        pv.gs_base_user = value;
    arch::write_msr(number, value);
    return true;
}

bool read_tsc_aux(Vcpu& vcpu, uint32_t, uint64_t& value) {
    value = vcpu.arch.pv.tsc_aux;
    return has(vcpu, XEN_X86_FEATURE_RDTSCP) || has(vcpu, XEN_X86_FEATURE_RDPID);
}
bool write_tsc_aux(Vcpu& vcpu, uint32_t number, uint64_t value) {
    uint64_t ignored;
    if (!read_tsc_aux(vcpu, number, ignored) || value >> 32) return false;
    vcpu.arch.pv.tsc_aux = static_cast<uint32_t>(value);
    arch::write_msr(number, value);
    return true;
}

bool read_platform_info(Vcpu& vcpu, uint32_t, uint64_t& value) {
    value = vcpu.domain->arch.cpu_policy->platform_info;
    return true;
}
bool read_arch_capabilities(Vcpu& vcpu, uint32_t, uint64_t& value) {
    value = vcpu.domain->arch.cpu_policy->arch_caps;
    return has(vcpu, XEN_X86_FEATURE_ARCH_CAPS);
}
bool read_misc_features(Vcpu& vcpu, uint32_t, uint64_t& value) {
    value = vcpu.arch.pv.misc_features;
    return true;
}
bool write_misc_features(Vcpu& vcpu, uint32_t, uint64_t value) {
    bool can_fault = vcpu.domain->arch.cpu_policy->platform_info & kPlatformCpuidFaulting;
    if (value & ~(can_fault ? kCpuidFaulting : 0)) return false;
    vcpu.arch.pv.misc_features = value;
    return true;
}

bool write_pred_cmd(Vcpu& vcpu, uint32_t number, uint64_t value) {
    constexpr uint64_t kIbpb = 1, kSbpb = 1 << 7;
    uint64_t allowed = 0;
    if (has(vcpu, XEN_X86_FEATURE_IBPB) || has(vcpu, XEN_X86_FEATURE_IBRSB)) allowed |= kIbpb;
    if (has(vcpu, XEN_X86_FEATURE_SBPB)) allowed |= kSbpb;
    if (!allowed || value & ~allowed) return false;
    if (value) arch::write_msr(number, value);
    return true;
}

bool read_microcode(Vcpu&, uint32_t number, uint64_t& value) {
    value = arch::read_msr(number);
    return true;
}
/// Intel's protocol to read the revision begins with a write of 0.
bool write_microcode(Vcpu&, uint32_t, uint64_t value) {
    return value == 0;
}

bool read_misc_enable(Vcpu&, uint32_t number, uint64_t& value) {
    constexpr uint64_t kPerfMon = 1 << 7, kNoBts = 1 << 11, kNoPebs = 1 << 12, kNoXtpr = 1 << 23;
    value = (arch::read_msr(number) & ~kPerfMon) | kNoBts | kNoPebs | kNoXtpr;
    return true;
}

bool read_de_cfg(Vcpu&, uint32_t, uint64_t& value) {
    constexpr uint64_t kLfenceSerialises = 1 << 1;
    value = kLfenceSerialises;
    return true;
}

/// Physical addresses where RAM ends: Domain 0's drivers place devices by it.
bool read_of_hardware_domain(Vcpu& vcpu, uint32_t number, uint64_t& value) {
    if (!vcpu.domain->is_hardware) return false;
    value = arch::read_msr(number);
    return true;
}
bool read_syscfg(Vcpu& vcpu, uint32_t number, uint64_t& value) {
    constexpr uint64_t kMtrrAndTopMem = 0x7c0000;
    bool ok = read_of_hardware_domain(vcpu, number, value);
    value &= kMtrrAndTopMem;
    return ok;
}

unsigned mask_index(uint32_t number) {
    return number == msr::kDr0AddressMask ? 0 : (number - msr::kDr1AddressMask + 1) & 3;
}
bool read_debug_mask(Vcpu& vcpu, uint32_t number, uint64_t& value) {
    value = vcpu.arch.pv.debug_address_masks[mask_index(number)];
    return has(vcpu, XEN_X86_FEATURE_DBEXT);
}

// --- the table ---

enum class Maker : uint8_t { kAny, kAmd, kIntel };

struct Row {
    uint32_t first, last;
    Maker maker;
    Read read;    // nullptr: #GP
    Write write;  // nullptr: #GP
};

constexpr Row kRows[] = {
    {msr::kTsc, msr::kTsc, Maker::kAny, read_tsc, nullptr},
    {msr::kPlatformId, msr::kPlatformId, Maker::kIntel, read_microcode, nullptr},
    {0x1b, 0x1b, Maker::kAny, read_apic_base, nullptr},
    {msr::kPredCmd, msr::kPredCmd, Maker::kAny, nullptr, write_pred_cmd},
    {msr::kUcodeRev, msr::kUcodeRev, Maker::kAmd, read_microcode, nullptr},
    {msr::kUcodeRev, msr::kUcodeRev, Maker::kIntel, read_microcode, write_microcode},
    {msr::kPlatformInfo, msr::kPlatformInfo, Maker::kAny, read_platform_info, nullptr},
    {msr::kArchCapabilities, msr::kArchCapabilities, Maker::kAny, read_arch_capabilities, nullptr},
    {msr::kMiscFeaturesEnables, msr::kMiscFeaturesEnables, Maker::kAny, read_misc_features,
     write_misc_features},
    {msr::kMcgCap, msr::kMcgCtl, Maker::kAny, zero, discard},  // no machine-check banks
    {msr::kPerfStatus, msr::kPerfStatus, Maker::kIntel, zero, nullptr},
    {msr::kPerfCtl, msr::kPerfCtl, Maker::kIntel, zero, discard},
    {msr::kThermStatus, msr::kThermStatus, Maker::kIntel, zero, nullptr},
    {msr::kMiscEnable, msr::kMiscEnable, Maker::kIntel, read_misc_enable, discard},
    {msr::kEnergyPerfBias, msr::kEnergyPerfBias, Maker::kIntel, zero, discard},
    {msr::kPat, msr::kPat, Maker::kAny, read_pat, nullptr},
    {msr::kPerfCapabilities, msr::kPerfCapabilities, Maker::kAny, zero, nullptr},
    {0xc0000080, 0xc0000080, Maker::kAny, read_efer, write_efer},
    {msr::kFsBase, msr::kKernelGsBase, Maker::kAny, read_base, write_base},
    {msr::kTscAux, msr::kTscAux, Maker::kAny, read_tsc_aux, write_tsc_aux},
    {msr::kSyscfg, msr::kSyscfg, Maker::kAmd, read_syscfg, nullptr},
    {msr::kHwcr, msr::kHwcr, Maker::kAmd, zero, discard},
    {msr::kTopMem1, msr::kTopMem1, Maker::kAmd, read_of_hardware_domain, nullptr},
    {msr::kTopMem2, msr::kTopMem2, Maker::kAmd, read_of_hardware_domain, nullptr},
    {msr::kNbCfg, msr::kNbCfg, Maker::kAmd, zero, discard},
    {msr::kFidVidCtl, msr::kFidVidStatus, Maker::kAmd, zero, discard},
    {msr::kPstateLimit, msr::kPstateLast, Maker::kAmd, zero, discard},
    {msr::kDr1AddressMask, msr::kDr3AddressMask, Maker::kAmd, read_debug_mask, nullptr},
    {msr::kDr0AddressMask, msr::kDr0AddressMask, Maker::kAmd, read_debug_mask, nullptr},
    {msr::kDeCfg, msr::kDeCfg, Maker::kAmd, read_de_cfg, discard},
};

Maker maker_of_machine() {
    constexpr uint32_t kAuth = 0x68747541, kHygo = 0x6f677948, kGenu = 0x756e6547;
    switch (arch::cpu_policy::host().basic[0].b) {
        case kAuth:
        case kHygo:
            return Maker::kAmd;
        case kGenu:
            return Maker::kIntel;
        default:
            return Maker::kAny;
    }
}

const Row* find(uint32_t number) {
    for (const Row& row : kRows) {
        if (number < row.first || number > row.last) continue;
        if (row.maker == Maker::kAny || row.maker == maker_of_machine()) return &row;
    }
    return nullptr;
}

/// A kernel that has no #GP handler yet (early boot) reads 0 rather than dies.
bool no_handler_yet(const Vcpu& vcpu) {
    constexpr unsigned kGeneralProtection = 13;
    return vcpu.arch.pv.traps[kGeneralProtection].address == 0;
}

}  // namespace

bool read_msr(Vcpu& vcpu, uint32_t number, uint64_t& value) {
    const Row* row = find(number);
    if (row && row->read && row->read(vcpu, number, value)) return true;
    if (!row) guest_log(LogLevel::kInfo, "reads unknown MSR {:x}", number);
    value = 0;
    return no_handler_yet(vcpu);
}

bool write_msr(Vcpu& vcpu, uint32_t number, uint64_t value) {
    const Row* row = find(number);
    if (row && row->write && row->write(vcpu, number, value)) return true;
    guest_log(LogLevel::kInfo, "write of {:x} to MSR {:x} refused", value, number);
    return false;
}

void load_guest_msrs(const Vcpu& next) {
    if (arch::cpu_policy::host().has(XEN_X86_FEATURE_RDTSCP))
        arch::write_msr(msr::kTscAux, next.arch.pv.tsc_aux);
}

}  // namespace hv::pv
