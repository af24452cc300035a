// The ends of the machine: reboot, power-off, halt.
#include <atomic>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "arch/time.hpp"
#include "base/lock.hpp"
#include "hv/console/log.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/cpu/port_io.hpp"
#include "hv/x86/irq/ioapic.hpp"
#include "hv/x86/irq/lapic.hpp"
#include "hv/x86/irq/pci.hpp"

namespace hv {
namespace {

// PM1 control (ACPI 4.8.3.2.1): SLP_TYP in bits 12-10, SLP_EN 13.
constexpr uint16_t kSleepEnable = 1 << 13;
constexpr uint16_t kSleepTypeMask = 7 << 10;

constexpr Nanoseconds kPatience = 100 * kMillisecond;

void wait(Nanoseconds duration) {
    const Nanoseconds end = arch::now() + duration;
    while (arch::now() < end) asm volatile("pause");
}

constexpr uint32_t kNobody = ~uint32_t{0};
std::atomic<uint32_t> stopped_by{kNobody};  // the CPU that goes on alone

/// Keeps all other CPUs from doing more: INIT leaves them waiting for a SIPI that never comes. But
/// it has the boot CPU begin with the firmware (Intel's SDM vol. 3, MP initialization; the BSP
/// flag), so that one gets an NMI: stay_if_stopped().
void stop_other_cpus() {
    const CpuId self = arch::this_cpu();
    stopped_by.store(static_cast<uint32_t>(self));
    arch::online_cpus().for_each([&](size_t cpu) {
        if (cpu == self) return;
        const uint32_t id = irq::lapic::id_of(static_cast<CpuId>(cpu));
        cpu == 0 ? irq::lapic::send_nmi(id) : irq::lapic::send_init(id);
    });
}

void write_register(const acpi::Register& reg, uint8_t value) {
    using Space = acpi::Register::Space;
    switch (reg.space) {
        case Space::kPort:
            arch::out8(static_cast<uint16_t>(reg.address), value);
            break;
        case Space::kMemory:
            if (auto* at = static_cast<volatile uint8_t*>(arch::map_device(reg.address, 1)))
                *at = value;
            break;
        case Space::kPciConfig: {  // ACPI table 5-1: device, function, offset on bus 0
            const auto device = static_cast<uint32_t>(reg.address >> 32) & 0x1f;
            const auto function = static_cast<uint32_t>(reg.address >> 16) & 7;
            irq::pci_config_write(irq::make_bdf(0, 0, device << 3 | function),
                                  static_cast<uint32_t>(reg.address) & 0xfff, 1, value);
            break;
        }
    }
}

/// An exception with no table to look it up in, twice: the processor gives up.
[[noreturn]] void triple_fault() {
    const struct [[gnu::packed]] {
        uint16_t limit;
        uint64_t base;
    } none{0, 0};
    for (;;) asm volatile("lidt %0; int3" : : "m"(none));
}

}  // namespace

namespace arch {

void stay_if_stopped() {
    const uint32_t alone = stopped_by.load();
    if (alone == kNobody || alone == static_cast<uint32_t>(this_cpu())) return;
    for (;;) asm volatile("cli; hlt");
}

void machine_quiesce() {
    asm volatile("cli");
    stop_other_cpus();
    base::locks_broken.store(true);
    irq::ioapic::shut_down();
}

void machine_halt() {
    machine_quiesce();
    for (;;) asm volatile("cli; hlt");
}

/// The ways to reset a PC, the most proper first; each gets a moment to work.
void machine_restart() {
    constexpr uint16_t kResetControl = 0xcf9;  // chipset's reset control register
    constexpr uint16_t kKeyboard = 0x64;       // its controller can pull the reset line
    machine_quiesce();
    const acpi::Info& info = acpi::info();
    if (info.reset_register.present()) {
        write_register(info.reset_register, info.reset_value);
        wait(kPatience);
    }
    out8(kResetControl, 0x02);
    out8(kResetControl, 0x06);
    wait(kPatience);
    out8(kKeyboard, 0xfe);
    wait(kPatience);
    triple_fault();
}

void machine_power_off() {
    const acpi::Info& info = acpi::info();
    if (info.soft_off.known) (void)acpi::enter_soft_off(info.soft_off.a, info.soft_off.b);
    log(LogLevel::kError, "power-off: {}; the machine is halted",
        info.soft_off.known ? "the firmware did not do it" : "the tables do not say how");
    machine_halt();
}

}  // namespace arch

namespace acpi {

Result<> enter_soft_off(uint16_t a, uint16_t b) {
    const Info& tables = info();
    if (!tables.pm1a_control_port) return Errno::kENODEV;
    arch::machine_quiesce();
    // First the type alone, then with SLP_EN, PM1a before PM1b, all other bits as they are
    // (ACPI 7.4.2 and 4.8.3.2.1).
    const auto port_a = static_cast<uint16_t>(tables.pm1a_control_port);
    const auto port_b = static_cast<uint16_t>(tables.pm1b_control_port);
    auto merged = [](uint16_t port, uint16_t value) {
        const uint16_t kept = arch::in16(port) & ~(kSleepTypeMask | kSleepEnable);
        return static_cast<uint16_t>(kept | (value & kSleepTypeMask));
    };
    const uint16_t value_a = merged(port_a, a);
    const uint16_t value_b = port_b ? merged(port_b, b) : 0;
    arch::out16(port_a, value_a);
    if (port_b) arch::out16(port_b, value_b);
    arch::out16(port_a, value_a | kSleepEnable);
    if (port_b) arch::out16(port_b, value_b | kSleepEnable);
    wait(10 * kPatience);
    return Errno::kEIO;
}

}  // namespace acpi
}  // namespace hv
