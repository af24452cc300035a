// The machine's own policy, read with CPUID on the boot CPU.
#include "hv/x86/cpu/policy_detect.hpp"

#include <algorithm>

#include <xen/arch-x86/cpufeatureset.h>

#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/msr_numbers.hpp"
#include "hv/x86/cpu/native.hpp"
#include "hv/x86/cpu/vendor.hpp"

namespace hv::arch::cpu_policy {
namespace {

constexpr uint32_t kCpuidFaulting = 1u << 31;     // of MSR_PLATFORM_INFO
constexpr uint32_t kCpuidUserDisable = 1u << 17;  // of leaf 0x80000021's eax
constexpr uint64_t kHwcrCpuidUserDisable = uint64_t{1} << 35;

CpuidLeaf read(uint32_t leaf, uint32_t subleaf = 0) {
    native::Cpuid r = native::cpuid(leaf, subleaf);
    return {r.a, r.b, r.c, r.d};
}

template <size_t N>
void read_subleaves(uint32_t leaf, CpuidLeaf (&into)[N], uint32_t last = N - 1) {
    for (uint32_t i = 0; i < N && i <= last; ++i) into[i] = read(leaf, i);
}

/// Bits that change while the machine runs: they mirror CR4 and XCR0.
void clear_dynamic(CpuPolicy& p) {
    p.basic[1].c &= ~(1u << (XEN_X86_FEATURE_OSXSAVE % 32));
    p.features[0].c &= ~(1u << (XEN_X86_FEATURE_OSPKE % 32));
    p.xstate[0].b = p.xstate[1].b = 0;
}

void read_basic(CpuPolicy& p) {
    uint32_t last = std::min<uint32_t>(read(0).a, std::size(p.basic) - 1);
    for (uint32_t leaf = 0; leaf <= last; ++leaf) p.basic[leaf] = read(leaf);
    p.basic[4] = p.basic[7] = p.basic[0xb] = p.basic[0xd] = {};
    if (last >= 4) read_subleaves(4, p.cache);
    if (last >= 7) read_subleaves(7, p.features, read(7).a);
    if (last >= 0xb) read_subleaves(0xb, p.topology);
    if (last >= 0xd) read_subleaves(0xd, p.xstate);
}

void read_extended(CpuPolicy& p) {
    uint32_t last = read(0x80000000).a;
    if (last >> 16 != 0x8000) return;
    last = std::min<uint32_t>(last & 0xffff, std::size(p.extended) - 1);
    for (uint32_t i = 0; i <= last; ++i) p.extended[i] = read(0x80000000 + i);
}

void read_msrs(CpuPolicy& p) {
    if (p.has(XEN_X86_FEATURE_ARCH_CAPS)) p.arch_caps = read_msr(guest_msr::kArchCapabilities);
    // PLATFORM_INFO has no CPUID bit of its own; every Intel CPU with long mode has the MSR, but
    // not every virtual machine.
    bool has_platform_info = vendor_of(p) == Vendor::kIntel && !p.has(XEN_X86_FEATURE_HYPERVISOR);
    if (has_platform_info)
        p.platform_info =
            static_cast<uint32_t>(read_msr(guest_msr::kPlatformInfo)) & kCpuidFaulting;
    else if (p.extended[0x21].a & kCpuidUserDisable)
        p.platform_info = kCpuidFaulting;
}

}  // namespace

CpuPolicy detect() {
    CpuPolicy p;
    read_basic(p);
    read_extended(p);
    clear_dynamic(p);
    read_msrs(p);
    return p;
}

void enable_cpuid_faulting(const CpuPolicy& host) {
    if (!(host.platform_info & kCpuidFaulting)) return;
    if (vendor_of(host) == Vendor::kIntel)
        write_msr(guest_msr::kMiscFeaturesEnables, 1);
    else
        write_msr(guest_msr::kHwcr, read_msr(guest_msr::kHwcr) | kHwcrCpuidUserDisable);
}

}  // namespace hv::arch::cpu_policy
