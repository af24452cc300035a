// Every interrupt comes through here, with interrupts off, on its CPU's one stack: from guest
// mode, from the idle loop's sleep, or from a poll point (docs/tour.md, execution model).
#include "hv/x86/irq/dispatch.hpp"

#include <atomic>

#include "arch/time.hpp"
#include "hv/console/log.hpp"
#include "hv/console/trace.hpp"
#include "hv/event/event.hpp"
#include "hv/sched/timer.hpp"
#include "hv/x86/irq/cpus.hpp"
#include "hv/x86/irq/irq.hpp"
#include "hv/x86/irq/lapic.hpp"
#include "hv/x86/irq/line_hardware.hpp"
#include "hv/x86/irq/vectors.hpp"
#include "hv/x86/paging/flush.hpp"

namespace hv::irq {
namespace {

/// Counts an interrupt; true if the line has been so busy that it must rest. The clock is read
/// only now and then: a storm is thousands of interrupts.
bool is_storm(Irq& line) {
    constexpr uint32_t kLookEvery = 256;
    if (++line.burst % kLookEvery) return false;
    const Nanoseconds now = arch::now();
    if (now - line.burst_start > kStormWindow) {
        line.burst_start = now;
        line.burst = 0;
        return false;
    }
    return line.burst > kStormLimit;
}

void rest(Irq& line) {
    static std::atomic<uint32_t> told{0};
    if (line.is_msi && !line.msi.maskable) return;  // switching it off would raise INTx instead
    if (told.fetch_add(1) < 10) {
        if (line.is_msi)
            log(LogLevel::kWarning, "interrupt storm from PCI {:04x}", line.msi.bdf);
        else
            log(LogLevel::kWarning, "interrupt storm on IRQ {}", line.number);
    }
    line.throttled = true;
    line.burst = 0;
    set_masked(line, true);
    line.throttle_timer.set(arch::now() + kStormWindow);
}

/// Lock held, masked if level triggered, EOI sent.
void deliver(Irq& line) {
    switch (line.consumer) {
        case Irq::Consumer::kHypervisor:
            line.handler(line.context);
            if (line.level && !line.throttled) set_masked(line, false);
            break;
        case Irq::Consumer::kGuest:
            line.in_flight = line.needs_eoi();
            event::send_pirq(*line.guest, line.pirq);
            break;
        case Irq::Consumer::kNobody:
            break;  // it was unbound while the interrupt was on its way
    }
}

void unexpected(uint8_t vector) {
    static std::atomic<uint32_t> told{0};
    if (told.fetch_add(1) < 10) log(LogLevel::kInfo, "unexpected interrupt, vector {:02x}", vector);
}

void handle_device(uint8_t vector) {
    if (Irq* line = line_of_vector(vector)) {
        const uint64_t began = trace::is_on() ? arch::cycles() : 0;
        handle(*line);
        if (began) trace::event(TRC_HW_IRQ_HANDLED, line->number, began, arch::cycles());
        return;
    }
    lapic::eoi();
    trace::event(TRC_HW_IRQ_UNMAPPED_VECTOR, vector);
    unexpected(vector);
}

}  // namespace

void handle(Irq& line) {
    LockGuard guard(line.lock);
    if (line.consumer != Irq::Consumer::kNobody) {
        // A level must be masked before the EOI, or the pin fires again at once.
        if (line.level) set_masked(line, true);
        if (is_storm(line)) rest(line);
    }
    lapic::eoi();
    deliver(line);
}

}  // namespace hv::irq

extern "C" void hv_interrupt(uint8_t vector) {
    using namespace hv;
    using namespace hv::irq;
    switch (vector) {
        case kVectorTimer:
            lapic::eoi();
            timer_interrupt();
            return;
        case kVectorKick:  // its arrival is the message: the way back looks at the softirqs
            note_kick();
            lapic::eoi();
            return;
        case kVectorFlush:
            lapic::eoi();
            arch::serve_flush_request();
            return;
        case kVectorError:
            lapic::eoi();
            lapic::handle_error();
            return;
        case kVectorSpurious:
            return;  // has no bit in service, wants no EOI
        default:
            break;
    }
    if (vector <= kVectorPicLast) return;  // a PIC's spurious interrupt: not the local APIC's
    handle_device(vector);
}
