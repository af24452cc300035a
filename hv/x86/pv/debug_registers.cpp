#include "hv/x86/pv/debug_registers.hpp"

#include "hv/hypercall/handlers.hpp"
#include "hv/x86/arch/cpu.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/pv/traps.hpp"

namespace hv::pv {
namespace {

constexpr uint64_t kDr6MustBeZero = 1 << 12;
constexpr uint64_t kDr7MustBeZero = 0xd800;  // 11, 12, 14, 15
constexpr uint64_t kDr7GeneralDetect = 1 << 13;
constexpr unsigned kBreakOnIo = 2;  // R/W field, with CR4.DE

void write_real(unsigned number, uint64_t value) {
#ifdef XENOLITH_HOST
    (void)number, (void)value;
#else
    switch (number) {
        case 0:
            asm volatile("mov %0, %%db0" ::"r"(value));
            break;
        case 1:
            asm volatile("mov %0, %%db1" ::"r"(value));
            break;
        case 2:
            asm volatile("mov %0, %%db2" ::"r"(value));
            break;
        case 3:
            asm volatile("mov %0, %%db3" ::"r"(value));
            break;
        case 6:
            asm volatile("mov %0, %%db6" ::"r"(value));
            break;
        default:
            asm volatile("mov %0, %%db7" ::"r"(value));
            break;
    }
#endif
}

/// A guest's breakpoint in the hypervisor would fire there: only the lower half, and what lies
/// above the hypervisor's range, is the guest's. Both ends are aligned to far more than the widest
/// breakpoint.
bool breakpoint_allowed(uint64_t address) {
    constexpr uint64_t kLowerEnd = uint64_t{1} << 47, kHypervisorEnd = 0xffff880000000000;
    return address < kLowerEnd || address >= kHypervisorEnd;
}

unsigned read_write_field(uint64_t dr7, unsigned i) {
    return (dr7 >> (16 + 4 * i)) & 3;
}
unsigned length_of(uint64_t dr7, unsigned i) {
    constexpr unsigned kLength[4] = {1, 2, 8, 4};
    return kLength[(dr7 >> (18 + 4 * i)) & 3];
}

/// DR4 and DR5 are DR6 and DR7 unless CR4.DE makes them undefined.
Result<unsigned> real_number(const Vcpu& vcpu, unsigned number) {
    if (number > 7) return Errno::kENODEV;
    if (number == 4 || number == 5) {
        if (vcpu.arch.pv.cr4_guest & cr4::kDe) return Errno::kENODEV;
        return number + 2;
    }
    return number;
}

Result<> set_control(Vcpu& vcpu, uint64_t value) {
    if (value >> 32) return Errno::kEINVAL;
    value = (value & ~kDr7MustBeZero) | kDr7Reserved;
    if (value & kDr7GeneralDetect) return Errno::kEPERM;

    uint32_t on_ports = 0;
    if (value & kDr7Enables) {
        for (unsigned i = 0; i < 4; ++i) {
            if (read_write_field(value, i) != kBreakOnIo) continue;
            if (!(vcpu.arch.pv.cr4_guest & cr4::kDe)) return Errno::kEPERM;
            on_ports |= value & (uint32_t{3} << (2 * i));
        }
    }
    bool was_off = !(vcpu.arch.pv.debug_registers[7] & kDr7Enables);
    vcpu.arch.pv.io_breakpoints = on_ports;
    vcpu.arch.pv.debug_registers[7] = value & ~uint64_t{on_ports};
    if (&vcpu != &arch::current()) return {};
    if (was_off)
        load_debug_registers(vcpu);
    else
        write_real(7, vcpu.arch.pv.debug_registers[7]);
    return {};
}

}  // namespace

Result<> set_debug_register(Vcpu& vcpu, unsigned number, uint64_t value) {
    unsigned n = TRY(real_number(vcpu, number));
    if (n == 7) return set_control(vcpu, value);
    if (n == 6) {
        if (value >> 32) return Errno::kEINVAL;
        value = (value & ~kDr6MustBeZero) | kDr6Reserved;
    } else if (!breakpoint_allowed(value)) {
        return Errno::kEPERM;
    }
    vcpu.arch.pv.debug_registers[n] = value;
    if (&vcpu == &arch::current()) write_real(n, value);
    return {};
}

Result<uint64_t> get_debug_register(const Vcpu& vcpu, unsigned number) {
    unsigned n = TRY(real_number(vcpu, number));
    uint64_t value = vcpu.arch.pv.debug_registers[n];
    if (n == 6) value |= kDr6Reserved;
    if (n == 7) value |= kDr7Reserved | vcpu.arch.pv.io_breakpoints;
    return value;
}

void load_debug_registers(const Vcpu& next) {
    const uint64_t* dr = next.arch.pv.debug_registers;
    if (dr[7] & kDr7Enables) {
        for (unsigned i : {0u, 1u, 2u, 3u, 6u}) write_real(i, dr[i]);
    }
    write_real(7, dr[7] | kDr7Reserved);
}

void note_debug_status(Vcpu& vcpu, uint64_t dr6) {
    uint64_t& own = vcpu.arch.pv.debug_registers[6];
    own = (own | (dr6 & ~kDr6Reserved) | kDr6Reserved) & ~kDr6MustBeZero;
}

void inject_debug(Vcpu& vcpu, uint64_t reasons) {
    constexpr uint8_t kTrapDebug = 1;
    note_debug_status(vcpu, reasons);
    inject_trap(kTrapDebug);
}

uint32_t io_breakpoints_hit(const Vcpu& vcpu, uint16_t port, unsigned bytes) {
    const arch::PvVcpu& pv = vcpu.arch.pv;
    if (!pv.io_breakpoints || !(pv.cr4_guest & cr4::kDe)) return 0;
    uint32_t hit = 0;
    for (unsigned i = 0; i < 4; ++i) {
        if (!(pv.io_breakpoints & (3u << (2 * i)))) continue;
        uint64_t width = length_of(pv.debug_registers[7], i);
        uint64_t start = pv.debug_registers[i] & ~(width - 1);
        if (start < uint64_t{port} + bytes && start + width > port) hit |= 1u << i;
    }
    return hit;
}

}  // namespace hv::pv

namespace hv {

/// HYPERVISOR_set_debugreg(number, value) (arch-x86/xen.h).
Outcome do_set_debugreg(uint64_t number, uint64_t value, uint64_t, uint64_t, uint64_t) {
    return pv::set_debug_register(arch::current(), static_cast<uint32_t>(number), value);
}

/// HYPERVISOR_get_debugreg(number): the value, which may look like an errno (the header says so).
Outcome do_get_debugreg(uint64_t number, uint64_t, uint64_t, uint64_t, uint64_t) {
    return pv::get_debug_register(arch::current(), static_cast<uint32_t>(number));
}

}  // namespace hv
