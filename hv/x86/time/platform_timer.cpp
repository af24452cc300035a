#include "hv/x86/time/platform_timer.hpp"

#include "arch/memory.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/cpu/port_io.hpp"

namespace hv::time {
namespace {

// --- HPET ("IA-PC HPET Specification", 2.3) ---

constexpr size_t kHpetBytes = 0x400;
constexpr size_t kHpetCapabilities = 0x00 / 4, kHpetPeriod = 0x04 / 4;
constexpr size_t kHpetConfiguration = 0x10 / 4, kHpetCounter = 0xf0 / 4;
constexpr uint32_t kHpetEnable = 1;
constexpr uint32_t kHpetLongestPeriod = 100'000'000;  // femtoseconds

volatile uint32_t* hpet;

// The lower half only: reading both halves of the counter is not atomic everywhere, and what
// wraps is told from the TSC.
uint64_t read_hpet() {
    return hpet[kHpetCounter];
}

bool find_hpet(PlatformTimer& timer) {
    const uint64_t address = acpi::info().hpet_address;
    if (!address) return false;
    hpet = static_cast<volatile uint32_t*>(arch::map_device(address, kHpetBytes));
    if (!hpet || hpet[kHpetCapabilities] == ~uint32_t{0}) return false;
    const uint32_t period = hpet[kHpetPeriod];
    if (period == 0 || period > kHpetLongestPeriod) return false;
    hpet[kHpetConfiguration] = hpet[kHpetConfiguration] | kHpetEnable;
    timer = {"HPET", 32, period, 1'000'000, read_hpet};
    return true;
}

// --- the ACPI power management timer (ACPI 4.8.3.3): 3.579545 MHz, by definition ---

uint16_t pm_port;
uint64_t read_pm_timer() {
    return arch::in32(pm_port);
}

bool find_pm_timer(PlatformTimer& timer) {
    pm_port = acpi::info().pm_timer_port;
    if (!pm_port) return false;
    timer = {"ACPI timer", acpi::info().pm_timer_width, 1'000'000'000, 3'579'545, read_pm_timer};
    return true;
}

// --- PIT: channel 2, whose gate is bit 0 of port 0x61 (Intel 8254) ---

constexpr uint16_t kPitChannel2 = 0x42, kPitCommand = 0x43, kPitGate = 0x61;

uint64_t read_pit() {
    arch::out8(kPitCommand, 0x80);  // latch channel 2
    const uint64_t low = arch::in8(kPitChannel2);
    const uint64_t high = arch::in8(kPitChannel2);
    return 0xffff - (high << 8 | low);  // it counts down
}

void start_pit(PlatformTimer& timer) {
    arch::out8(kPitGate, static_cast<uint8_t>((arch::in8(kPitGate) & ~2) | 1));  // no sound
    arch::out8(kPitCommand, 0xb4);  // channel 2, two bytes, mode 2: starts over at 65536
    arch::out8(kPitChannel2, 0);
    arch::out8(kPitChannel2, 0);
    timer = {"PIT", 16, 1'000'000'000, 1'193'182, read_pit};
}

/// Some firmware announces timers that stand still.
bool counts(const PlatformTimer& timer) {
    const uint64_t first = timer.read();
    for (unsigned i = 0; i < 100'000; ++i)
        if (timer.read() != first) return true;
    return false;
}

}  // namespace

PlatformTimer find_platform_timer() {
    PlatformTimer timer;
    if (find_hpet(timer) && counts(timer)) return timer;
    if (find_pm_timer(timer) && counts(timer)) return timer;
    start_pit(timer);
    return timer;
}

}  // namespace hv::time
