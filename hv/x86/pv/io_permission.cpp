// Which of the machine's ports a domain may reach. Domain 0 has everything that is not
// the hypervisor's own; another domain what XEN_DOMCTL_ioport_permission gave it.
#include <string_view>

#include "hv/domain/domain.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/boot/options.hpp"

namespace hv::arch {
namespace {

struct PortRange {
    uint16_t first;
    uint16_t count;
    constexpr bool overlaps(uint32_t start, uint32_t end) const {
        return start < uint32_t{first} + count && end > first;
    }
};

/// Emulated for Domain 0, or not for it at all (port_io.cpp has those that are emulated).
constexpr PortRange kOwnPorts[] = {
    {0x20, 2},   // master PIC
    {0x40, 4},   // PIT
    {0x61, 1},   // gate of PIT channel 2, speaker
    {0x70, 2},   // CMOS: an index and a data port, which several vCPUs must not interleave
    {0xa0, 2},   // slave PIC
    {0xcfc, 4},  // PCI configuration data; its address register is decided by size
};

bool hits_console(uint32_t start, uint32_t end) {
    constexpr uint16_t kUartPorts = 8;
    const boot::Options& o = boot::options();
    std::string_view consoles = o.console;
    auto hit = [&](std::string_view name, const boot::Options::Serial& serial) {
        return consoles.find(name) != consoles.npos &&
               PortRange{serial.port, kUartPorts}.overlaps(start, end);
    };
    return hit("com1", o.com1) || hit("com2", o.com2);
}

bool hypervisor_owns(uint32_t start, uint32_t end) {
    for (const PortRange& range : kOwnPorts)
        if (range.overlaps(start, end)) return true;
    uint16_t pm_timer = acpi::info().pm_timer_port;
    if (pm_timer && PortRange{pm_timer, 4}.overlaps(start, end)) return true;
    return hits_console(start, end);
}

bool was_granted(const Domain& domain, uint32_t start, uint32_t end) {
    if (!domain.arch.ioports) return false;
    for (uint32_t port = start; port < end; ++port)
        if (!domain.arch.ioports->test(port)) return false;
    return true;
}

}  // namespace

bool may_use_ports(const Domain& domain, uint16_t first, unsigned count) {
    uint32_t end = uint32_t{first} + count;
    if (end > 0x10000) return false;
    if (domain.is_hardware && !hypervisor_owns(first, end)) return true;
    return was_granted(domain, first, end);
}

}  // namespace hv::arch
