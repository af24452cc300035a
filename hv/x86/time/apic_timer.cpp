// This CPU's timer interrupt: the local APIC's, by TSC deadline or by ticks.
#include "arch/time.hpp"
#include "hv/x86/irq/lapic.hpp"
#include "hv/x86/time/clock.hpp"
#include "hv/x86/time/scale.hpp"
#include "hv/x86/time/time.hpp"
#include "hv/x86/time/tsc.hpp"

namespace hv::time {
namespace {

constinit uint32_t khz = 0;

// Longer waits are cut: the interrupt then finds nothing due and arms the timer again.
constexpr uint64_t kLongest = 10 * kSecond;

}  // namespace

uint32_t apic_timer_khz() {
    return khz;
}
void set_apic_timer_khz(uint32_t value) {
    khz = value;
}

namespace {

/// How long from now, at most kLongest.
uint64_t ahead(Nanoseconds deadline) {
    const Nanoseconds delta = deadline - arch::now();
    if (delta <= 0) return 0;
    return static_cast<uint64_t>(delta) < kLongest ? static_cast<uint64_t>(delta) : kLongest;
}

void program_deadline(Nanoseconds deadline) {
    const uint64_t ticks =
        mul_div(ahead(deadline), uint64_t{1} << Rate::kShift, current_rate().raw);
    irq::lapic::set_timer_deadline(read_tsc() + ticks + 1);
}

void program_ticks(Nanoseconds deadline) {
    const uint64_t ticks = mul_div(ahead(deadline), khz, kMillisecond) + 1;  // 0 would stop it
    irq::lapic::set_timer_ticks(ticks < ~uint32_t{0} ? static_cast<uint32_t>(ticks) : ~uint32_t{0});
}

}  // namespace
}  // namespace hv::time

namespace hv::arch {

void program_timer(Nanoseconds deadline) {
    if (irq::lapic::has_tsc_deadline()) {
        deadline == kNever ? irq::lapic::set_timer_deadline(0) : time::program_deadline(deadline);
    } else {
        deadline == kNever ? irq::lapic::set_timer_ticks(0) : time::program_ticks(deadline);
    }
}

}  // namespace hv::arch
