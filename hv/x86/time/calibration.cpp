// From nothing to a clock, and keeping it true. The one place that reads all three counters.
#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/console/log.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/sched/timer.hpp"
#include "hv/x86/irq/lapic.hpp"
#include "hv/x86/time/clock.hpp"
#include "hv/x86/time/discipline.hpp"
#include "hv/x86/time/platform_timer.hpp"
#include "hv/x86/time/rtc.hpp"
#include "hv/x86/time/time.hpp"
#include "hv/x86/time/tsc.hpp"

namespace hv::time {
namespace {

constexpr Nanoseconds kFirstWindow = 10 * kMillisecond;
constexpr Nanoseconds kPeriod = kSecond;
constexpr int64_t kNotWorthAStep = 20;  // ppb; each step makes all CPUs and guests look

constinit PlatformTimer platform{};
constinit Discipline discipline;
constinit Timer correction_timer;

Sample sample_platform() {
    return take_sample(platform.read, read_tsc);
}
Sample sample_apic() {
    // It counts down.
    return take_sample([] { return uint64_t{~irq::lapic::read_timer_ticks()}; }, read_tsc);
}

/// Reads the platform timer, and changes the clock's rate if that is called for.
void correct() {
    const Sample sample = sample_platform();
    uint64_t version;
    const Line line = current_line(version);
    const Rate before = current_rate();
    const Rate after = discipline.feed(sample, static_cast<Nanoseconds>(line.at(sample.tsc)));
    const int64_t step = after.ppb_above(before);
    if (step > -kNotWorthAStep && step < kNotWorthAStep) return;
    bend(read_tsc(), after);
    arch::online_cpus().for_each(
        [](size_t cpu) { raise_softirq_on(static_cast<CpuId>(cpu), Softirq::kTime); });
}

void on_correction_due(void*) {
    correct();
    correction_timer.set(arch::now() + kPeriod);
}

}  // namespace

void init() {
    platform = find_platform_timer();
    irq::lapic::set_timer_ticks(~uint32_t{0});
    const Sample first = sample_platform();
    const Sample apic_first = sample_apic();
    const uint64_t window = platform.to_ticks(kFirstWindow);
    while (((platform.read() - first.count) & platform.mask()) < window) asm volatile("pause");
    const Sample last = sample_platform();
    const Sample apic_last = sample_apic();
    irq::lapic::set_timer_ticks(0);

    const uint64_t elapsed = platform.to_ns((last.count - first.count) & platform.mask());
    const Rate rate = Rate::of(elapsed, last.tsc - first.tsc);
    start_clock(first.tsc, rate);
    discipline = Discipline(platform, first, rate);

    const uint64_t apic_ticks = (apic_last.count - apic_first.count) & 0xffffffff;
    set_apic_timer_khz(static_cast<uint32_t>(
        mul_div(apic_ticks, rate.hz() / 1000, apic_last.tsc - apic_first.tsc)));
    log(LogLevel::kInfo, "TSC at {} kHz, APIC timer at {} kHz, by the {}", arch::tsc_khz(),
        apic_timer_khz(), platform.name);
    read_rtc_into_wallclock();
}

void start_correction() {
    set_softirq_handler(Softirq::kTime, [] {
        Vcpu& vcpu = arch::current();
        if (!arch::is_idle(vcpu)) arch::update_vcpu_time(vcpu);
    });
    // The PIT's counter wraps 18 times a second, so between two readings nothing can be told.
    constexpr unsigned kFewestBits = 24;
    if (platform.bits < kFewestBits) {
        log(LogLevel::kWarning, "no HPET and no ACPI timer: the clock is not corrected");
        return;
    }
    // At once, which is when the first guest is about to run: until then nobody looks at timers,
    // and all the time of boot goes into the first, unlimited, step.
    correction_timer.init(on_correction_due, nullptr, arch::this_cpu());
    correction_timer.set(arch::now());
}

}  // namespace hv::time
