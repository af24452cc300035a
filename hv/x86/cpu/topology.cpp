// Where a CPU sits, from its APIC id: the id's bits are thread, core and package, and CPUID says
// how many bits each has (leaf 0xb; before it, leaf 1 and AMD's 0x80000008).
#include "arch/topology.hpp"

#include <bit>

#include "boot/smp.hpp"
#include "cpu/policy.hpp"

#include <xen/sysctl.h>

namespace hv::arch {

namespace {

struct Bits {
    unsigned thread;   ///< within a core
    unsigned package;  ///< thread and core together
};

unsigned bits_for(uint32_t count) {
    return count > 1 ? static_cast<unsigned>(std::bit_width(count - 1)) : 0;
}

Bits apic_id_bits(const CpuPolicy& raw) {
    constexpr uint32_t kShift = 0x1f;
    constexpr uint32_t kHtt = uint32_t{1} << 28;
    const bool has_leaf = raw.basic[0].a >= 0xb && raw.topology[0].b != 0;
    if (has_leaf) {
        const unsigned thread = raw.topology[0].a & kShift;
        const unsigned package = raw.topology[1].a & kShift;
        return {thread, package > thread ? package : thread};
    }
    const unsigned amd_bits = (raw.extended[8].c >> 12) & 0xf;
    if (amd_bits) return {0, amd_bits};
    const bool several = raw.basic[1].d & kHtt;
    return {0, several ? bits_for((raw.basic[1].b >> 16) & 0xff) : 0};
}

}  // namespace

CpuPlace place_of(CpuId cpu) {
    const uint32_t id = boot::cpu_names(cpu).apic_id;
    auto raw = cpu_policy::system(XEN_SYSCTL_cpu_policy_raw);
    if (!raw) return {0, id};
    const Bits bits = apic_id_bits(**raw);
    const uint32_t in_package = id & ((uint32_t{1} << bits.package) - 1);
    return {in_package >> bits.thread, id >> bits.package};
}

uint8_t node_of_cpu(CpuId cpu) {
    return boot::cpu_names(cpu).node;
}

}  // namespace hv::arch
