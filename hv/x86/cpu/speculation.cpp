#include "hv/x86/cpu/speculation.hpp"

#include "hv/x86/cpu/extable.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/native.hpp"

namespace hv::cpu {

namespace {

/// Intel's LFENCE always does (SDM vol. 2, LFENCE). AMD's does by a bit of DE_CFG (AMD's "Software
/// Techniques for Managing Speculation", G-2), or always, which CPUID says (APM vol. 3,
/// Fn8000_0021_EAX, LFenceAlwaysSerializing).
bool lfence_needs_a_bit() {
    constexpr uint32_t kAuth = 0x68747541, kHygo = 0x6f677948;
    const uint32_t vendor = native::cpuid(0).b;
    if (vendor != kAuth && vendor != kHygo) return false;
    const bool says_so = native::cpuid(0x80000000).a >= 0x80000021;
    return !says_so || !(native::cpuid(0x80000021).a >> 2 & 1);
}

}  // namespace

void make_lfence_serialise() {
    if (!lfence_needs_a_bit()) return;
    // The oldest that have no such register need no such bit; a fault says the same of a machine
    // that is not a real one.
    asm volatile(
        "1: rdmsr\n\t"
        "or $2, %%eax\n\t"
        "2: wrmsr\n\t"
        "3:\n\t" EXTABLE("1b", "3b") EXTABLE("2b", "3b")
        :
        : "c"(arch::msr::kDeCfg)
        : "eax", "edx", "memory");
}

}  // namespace hv::cpu
