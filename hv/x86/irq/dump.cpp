// The state of all interrupt lines, for debug key 'i'.
#include "arch/irq.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/irq/irq.hpp"
#include "hv/x86/irq/vectors.hpp"

namespace hv {
namespace irq {
namespace {

void dump_line(unsigned vector, Irq& line) {
    LockGuard guard(line.lock);
    const char* kind = line.is_msi ? (line.msi.is_msix ? "MSI-X" : "MSI") : "pin";
    const char* trigger = line.is_msi || !line.level ? "edge" : "level";
    const uint32_t number = line.is_msi ? line.msi.bdf.raw() : line.number;
    const char* state = line.throttled   ? ", throttled"
                        : line.in_flight ? ", waits for the guest's EOI"
                                         : "";
    if (line.consumer == Irq::Consumer::kGuest)
        report(" vector {:02x}: {} {:x} {}, CPU {}, d{} pirq {}{}", vector, kind, number, trigger,
               line.cpu, line.guest->id, line.pirq, state);
    else
        report(" vector {:02x}: {} {:x} {}, CPU {}, hypervisor{}", vector, kind, number, trigger,
               line.cpu, state);
}

}  // namespace
}  // namespace irq

namespace arch {

void dump_interrupts() {
    report("interrupt lines in use: pins by number, messages by PCI function");
    for (unsigned v = irq::kVectorDeviceFirst; v <= irq::kVectorDeviceLast; ++v)
        if (irq::Irq* line = irq::line_of_vector(static_cast<uint8_t>(v))) irq::dump_line(v, *line);
}

}  // namespace arch
}  // namespace hv
