// Interrupt lines: a pin of an I/O APIC or a message (MSI) of a PCI function, and who serves it.
//
//   device ─▶ pin or message ─▶ vector ─▶ hv_interrupt() ─▶ Irq ─┬▶ a handler of the hypervisor
//                                                                └▶ a domain: event::send_pirq()
//
// A level-triggered line stays asserted until the guest's driver has calmed its device: it is
// masked at its pin before the local APIC's EOI, and unmasked when the guest says PHYSDEVOP_eoi.
// Edges and messages are acknowledged at once. A line that fires far too often is masked for a
// moment (kStormLimit), so that no device hangs the host.
#pragma once

#include "base/lock.hpp"
#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/lock_rank.hpp"
#include "hv/sched/rcu.hpp"
#include "hv/sched/timer.hpp"
#include "hv/x86/irq/msi.hpp"

namespace hv {
struct Domain;
}

namespace hv::irq {

/// A message's line is freed when no CPU can be looking at it any more: hence the RcuHead.
struct Irq : RcuHead {
    enum class Consumer : uint8_t { kNobody, kHypervisor, kGuest };
    using Handler = void (*)(void* context);
    static constexpr uint32_t kNoPin = ~uint32_t{0};

    Irq();

    SpinLock lock{static_cast<uint8_t>(Rank::kIrq)};
    // What it is; constant after creation but for the trigger (configure()).
    uint32_t number = 0;    ///< ISA number below 16, else GSI; no meaning for messages
    uint32_t gsi = kNoPin;  ///< its pin
    bool is_msi = false;
    Msi msi;  ///< if is_msi
    bool level = false;
    bool active_low = false;
    bool configured = false;  ///< PHYSDEVOP_setup_gsi was here
    bool reserved = false;    ///< never for a guest
    // Who serves it.
    Consumer consumer = Consumer::kNobody;
    uint8_t vector = 0;  ///< while served
    CpuId cpu = 0;       ///< where it arrives
    Handler handler = nullptr;
    void* context = nullptr;
    Domain* guest = nullptr;
    Pirq pirq{0};
    bool in_flight = false;  ///< masked until the guest's EOI
    // Storms.
    bool throttled = false;  ///< masked until throttle_timer
    uint32_t burst = 0;      ///< interrupts since burst_start
    Nanoseconds burst_start = 0;
    Timer throttle_timer;

    bool is_pin() const { return gsi != kNoPin; }
    /// Whether a guest has to say PHYSDEVOP_eoi after each interrupt.
    bool needs_eoi() const { return level; }
};

/// More interrupts than this in kStormWindow, and the line rests for one window.
inline constexpr uint32_t kStormLimit = 10'000;
inline constexpr Nanoseconds kStormWindow = 10 * kMillisecond;

/// Once at boot, after acpi::init(): masks the PICs, maps the I/O APICs, creates a line for each
/// pin. The boot CPU's local APIC is lapic::init_cpu()'s.
void init();

/// Lines of pins are numbered as PHYSDEVOP_map_pirq does: ISA interrupts below 16, GSIs above.
uint32_t line_count();
/// nullptr from line_count() on. A line may be without a pin (ISA interrupt 2).
Irq* line_of(uint32_t number);

/// Gives the line to the hypervisor: `handler(context)` runs with interrupts off, on `cpu`, with
/// the line's lock held, and may send events. kEBUSY: somebody has it; kENOSPC: no vector left;
/// kENODEV: it has no pin.
Result<> bind_handler(Irq& line, Irq::Handler handler, void* context, CpuId cpu = 0);
void unbind_handler(Irq& line);

/// Gives it to a domain. kEPERM if it is reserved; else as bind_handler().
Result<> bind_guest(Irq& line, Domain& guest, Pirq pirq, CpuId cpu);
/// Ends that: masked, nothing in flight. No-op for a line that `guest` does not have.
void unbind_guest(Irq& line, Domain& guest);
/// The guest has served the line.
void guest_eoi(Irq& line, const Domain& guest);
/// Interrupts should arrive on `cpu` from now on.
void move_to_cpu(Irq& line, CpuId cpu);
/// From now on lines stay where they are (a chipset's quirk that Domain 0 knows).
void stop_balancing();

/// PHYSDEVOP_setup_gsi: sets how the pin is triggered, the first time only. kEEXIST: done already
/// or in use; kENODEV: no pin.
Result<> configure(Irq& line, bool level, bool active_low);

/// A line for a message, which nobody serves yet; kENOMEM.
Result<Irq*> create_msi_line(const Msi& msi);
/// The line must be unbound. Freed after a grace period.
void destroy_msi_line(Irq* line);
/// Writes the message again (after the device lost it).
void restore_msi_line(Irq& line);

/// An interrupt has come; called from dispatch with interrupts off. Sends the local EOI.
void handle(Irq& line);

}  // namespace hv::irq
