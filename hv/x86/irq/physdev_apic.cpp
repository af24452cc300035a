// What Domain 0 may see and set of the I/O APICs. It believes to program them; in truth only how a
// pin is triggered is its to say.
#include <cstdint>

#include <xen/physdev.h>

#include "hv/domain/domain.hpp"
#include "hv/policy/policy.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/irq/ioapic.hpp"
#include "hv/x86/irq/physdev.hpp"
#include "hv/x86/irq/pirq.hpp"

namespace hv::irq::physdev {
namespace {

/// The low half of a redirection register as Domain 0 writes it.
struct PinSetting {
    explicit PinSetting(uint32_t value)
        : vector(value & 0xff),
          delivery_mode((value >> 8) & 7),
          active_low(value & 1 << 13),
          level(value & 1 << 15),
          masked(value & 1 << 16) {}
    uint8_t vector;
    uint8_t delivery_mode;
    bool active_low, level, masked;
};

Result<> write_pin(Domain& caller, uint32_t gsi, const PinSetting& pin) {
    constexpr uint8_t kLowestPriority = 1;  // above are SMI, NMI, INIT, ExtINT: not for a guest
    if (pin.delivery_mode > kLowestPriority) return Errno::kEINVAL;
    Irq* line = line_of(gsi);
    if (!line) return Errno::kEINVAL;
    if (Result<> set = configure(*line, pin.level, pin.active_low); !set) {
        if (set.error() != Errno::kEEXIST) return Errno::kEINVAL;
        return {};  // in use: the write has no effect
    }
    // alloc_irq_vector() told the IRQ's own number as its vector: that is the PIRQ meant here.
    if (!pin.masked) TRY(map_pin(caller, gsi, pin.vector));
    return {};
}

}  // namespace

Outcome setup_gsi(Domain& caller, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_setup_gsi>(argument.raw()).load());
    if (op.gsi < 0 || static_cast<uint32_t>(op.gsi) >= line_count()) return Errno::kEINVAL;
    TRY(policy::check(policy::Op::kPhysdev, caller));
    Irq* line = line_of(static_cast<uint32_t>(op.gsi));
    const Result<> set = configure(*line, op.triggering != 0, op.polarity != 0);
    if (!set && set.error() == Errno::kENODEV) return Errno::kEINVAL;
    return set;
}

Outcome apic_read(Domain& caller, GuestAddress argument) {
    const GuestInOut<physdev_apic> guest(argument.raw());
    auto op = TRY(guest.load());
    TRY(policy::check(policy::Op::kPhysdev, caller));
    op.value = TRY(ioapic::read_register(op.apic_physbase, static_cast<uint8_t>(op.reg)));
    return guest.store(op);
}

Outcome apic_write(Domain& caller, GuestAddress argument) {
    constexpr uint32_t kFirstRedirection = 0x10;
    const auto op = TRY(GuestIn<physdev_apic>(argument.raw()).load());
    TRY(policy::check(policy::Op::kPhysdev, caller));
    TRY(ioapic::read_register(op.apic_physbase, 0));  // kEINVAL: no such I/O APIC
    // The destination, in the odd registers, and the id are not Domain 0's to choose.
    if (op.reg < kFirstRedirection || (op.reg & 1)) return Outcome(0);
    const uint32_t gsi = TRY(ioapic::gsi_of_register(op.apic_physbase, op.reg));
    return write_pin(caller, gsi, PinSetting(op.value));
}

Outcome alloc_irq_vector(Domain& caller, GuestAddress argument) {
    const GuestInOut<physdev_irq> guest(argument.raw());
    auto op = TRY(guest.load());
    TRY(policy::check(policy::Op::kPhysdev, caller));
    op.vector = op.irq;
    return guest.store(op);
}

}  // namespace hv::irq::physdev
