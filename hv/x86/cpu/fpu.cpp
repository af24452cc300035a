#include "hv/x86/cpu/fpu.hpp"

#include <cstring>

#include <xen/arch-x86/cpufeatureset.h>

#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/memory/heap.hpp"
#include "hv/x86/arch/cpu.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/native.hpp"
#include "hv/x86/cpu/policy.hpp"
#include "hv/x86/cpu/xsave.hpp"

namespace hv::arch::fpu {
namespace {

constexpr size_t kLegacyBytes = 512;

PerCpu<uint64_t> loaded_xcr0;  // what this CPU's XCR0 holds
bool use_xsave = false;
bool use_xsaveopt = false;
bool leaves_error_pointers = false;  // AMD before Zen 2: FXRSTOR and friends skip FOP, FIP, FDP
size_t area_bytes = kLegacyBytes;
uint32_t mxcsr_mask = 0xffbf;

LegacyArea& legacy(const Vcpu& vcpu) {
    return *static_cast<LegacyArea*>(vcpu.arch.xsave_area);
}
XsaveHeader& header(const Vcpu& vcpu) {
    return *reinterpret_cast<XsaveHeader*>(static_cast<char*>(vcpu.arch.xsave_area) + kLegacyBytes);
}

void load_xcr0(uint64_t value) {
    uint64_t& loaded = loaded_xcr0.on(this_cpu());
    if (loaded == value) return;
    native::xsetbv(value);
    loaded = value;
}

/// What has to be saved: all that the guest has ever enabled (registers keep their contents when a
/// component is disabled again), x87 and SSE in any case.
uint64_t saved_components(const Vcpu& vcpu) {
    return vcpu.arch.xcr0_accum | xcr0::kX87 | xcr0::kSse;
}

/// Where the restore instructions leave x87's error pointers alone when no error is pending, the
/// previous owner's would stay visible: overwrite them (AMD APM volume 2, 11.4.4.3).
void clear_error_pointers(const LegacyArea& area) {
    constexpr uint16_t kErrorSummary = 1 << 7;
    if (area.fsw & kErrorSummary) return;
    static constexpr uint32_t kAnything = 0;
    asm volatile("fnclex; ffree %%st(7); fildl %0" ::"m"(kAnything));
}

void set_initial(void* place) {
    memset(place, 0, area_bytes);
    auto& area = *static_cast<LegacyArea*>(place);
    area.fcw = kInitialFcw;
    area.mxcsr = kInitialMxcsr;  // loaded from here even when XSTATE_BV says "initial"
}

}  // namespace

void init_cpu() {
    const CpuPolicy& host = cpu_policy::host();
    cpu::write_cr0((cpu::read_cr0() & ~(cr0::kEm | cr0::kTs)) | cr0::kMp | cr0::kNe);
    use_xsave = host.has(XEN_X86_FEATURE_XSAVE);
    use_xsaveopt = use_xsave && host.has(XEN_X86_FEATURE_XSAVEOPT);
    uint64_t cr4 = cpu::read_cr4() | cr4::kOsfxsr | cr4::kOsxmmexcpt;
    cpu::write_cr4(use_xsave ? cr4 | cr4::kOsxsave : cr4);

    constexpr uint32_t kAuth = 0x68747541;
    leaves_error_pointers = host.basic[0].b == kAuth && !host.has(XEN_X86_FEATURE_RSTR_FP_ERR_PTRS);
    if (use_xsave) {
        area_bytes = host.xstate[0].c;
        loaded_xcr0.on(this_cpu()) = 0;  // forget what a warm reset left
        load_xcr0(host.xcr0_max());
    }
    alignas(16) LegacyArea probe{};
    asm volatile("fninit; fxsave64 %0" : "=m"(probe));
    if (probe.mxcsr_mask) mxcsr_mask = probe.mxcsr_mask;
}

Result<> init_vcpu(Vcpu& vcpu) {
    // The heap aligns to a page from a page on; smaller areas want 64 bytes.
    size_t bytes = area_bytes < kPageSize ? kPageSize : area_bytes;
    vcpu.arch.xsave_area = heap::allocate(bytes);
    if (!vcpu.arch.xsave_area) return Errno::kENOMEM;
    reset(vcpu);
    return {};
}

void destroy_vcpu(Vcpu& vcpu) {
    heap::release(vcpu.arch.xsave_area);
    vcpu.arch.xsave_area = nullptr;
}

void reset(Vcpu& vcpu) {
    vcpu.arch.xcr0 = vcpu.arch.xcr0_accum = xcr0::kX87;
    set_initial(vcpu.arch.xsave_area);
}

void reset_area(Vcpu& vcpu) {
    set_initial(vcpu.arch.xsave_area);
}

bool mxcsr_is_valid(uint32_t mxcsr) {
    return !(mxcsr & ~mxcsr_mask);
}

void save(Vcpu& vcpu) {
    native::clts();  // the guest's TS would fault here, and this is not the guest's access
    auto* area = static_cast<char*>(vcpu.arch.xsave_area);
    if (!use_xsave) {
        asm volatile("fxsave64 %0" : "=m"(*area)::"memory");
        return;
    }
    uint64_t components = saved_components(vcpu);
    load_xcr0(components);
    auto low = static_cast<uint32_t>(components);
    auto high = static_cast<uint32_t>(components >> 32);
    if (use_xsaveopt)
        asm volatile("xsaveopt64 %0" : "+m"(*area) : "a"(low), "d"(high) : "memory");
    else
        asm volatile("xsave64 %0" : "+m"(*area) : "a"(low), "d"(high) : "memory");
}

void restore(Vcpu& vcpu) {
    const auto* area = static_cast<const char*>(vcpu.arch.xsave_area);
    if (leaves_error_pointers) clear_error_pointers(legacy(vcpu));
    if (use_xsave) {
        // Everything the machine has is restored: what this vCPU does not use becomes initial, and
        // nothing of the previous one is left.
        uint64_t components = cpu_policy::host().xcr0_max();
        load_xcr0(components);
        asm volatile("xrstor64 %0" ::"m"(*area), "a"(static_cast<uint32_t>(components)),
                     "d"(static_cast<uint32_t>(components >> 32))
                     : "memory");
        load_xcr0(vcpu.arch.xcr0);
    } else {
        asm volatile("fxrstor64 %0" ::"m"(*area) : "memory");
    }
    if (vcpu.arch.pv.cr0_guest & cr0::kTs) cpu::write_cr0(cpu::read_cr0() | cr0::kTs);
}

void set_guest_ts(Vcpu& vcpu, bool on) {
    if (on) {
        vcpu.arch.pv.cr0_guest |= cr0::kTs;
        cpu::write_cr0(cpu::read_cr0() | cr0::kTs);
    } else {
        vcpu.arch.pv.cr0_guest &= ~cr0::kTs;
        native::clts();
    }
}

Result<> set_xcr0(Vcpu& vcpu, uint64_t value) {
    if (!use_xsave || !valid_xcr0(value, vcpu.domain->arch.cpu_policy->xcr0_max()))
        return Errno::kEINVAL;
    vcpu.arch.xcr0 = value;
    vcpu.arch.xcr0_accum |= value;
    load_xcr0(value);
    return {};
}

Result<> set_legacy(Vcpu& vcpu, const void* fxsave_image) {
    const auto& image = *static_cast<const LegacyArea*>(fxsave_image);
    if (!mxcsr_is_valid(image.mxcsr)) return Errno::kEINVAL;
    set_initial(vcpu.arch.xsave_area);
    memcpy(vcpu.arch.xsave_area, fxsave_image, kLegacyBytes);
    if (use_xsave) {
        vcpu.arch.xcr0_accum |= xcr0::kX87 | xcr0::kSse;
        header(vcpu).xstate_bv = xcr0::kX87 | xcr0::kSse;
    }
    return {};
}

void get_legacy(const Vcpu& vcpu, void* fxsave_image) {
    memcpy(fxsave_image, vcpu.arch.xsave_area, kLegacyBytes);
    if (!use_xsave) return;
    // A component that is in its initial state is not written by XSAVE.
    auto& image = *static_cast<LegacyArea*>(fxsave_image);
    uint64_t present = header(vcpu).xstate_bv;
    if (!(present & xcr0::kX87)) image.reset_x87();
    if (!(present & xcr0::kSse)) image.reset_sse();
}

}  // namespace hv::arch::fpu
