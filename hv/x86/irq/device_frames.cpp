// Which frames of device memory a domain may map.
#include "arch/domain.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/cpu/native.hpp"

namespace hv::arch {
namespace {

/// One above the highest frame that a page-table entry can name on this machine: in an entry with
/// more, a reserved bit is set, and the guest's next access would fault in a way it cannot see.
uint64_t frame_limit() {
    constexpr uint32_t kAddressSizes = 0x80000008;
    static uint64_t limit;
    if (!limit) limit = uint64_t{1} << ((native::cpuid(kAddressSizes).a & 0xff) - kPageShift);
    return limit;
}

/// Interrupt controllers: whoever writes them can take the machine's interrupts away from us.
bool is_interrupt_controller(Mfn mfn) {
    const acpi::Info& info = acpi::info();
    if (mfn == mfn_of(info.lapic_address)) return true;
    for (const acpi::IoApicEntry& ioapic : info.ioapics)
        if (mfn == mfn_of(ioapic.address)) return true;
    return false;
}

}  // namespace

// MSI-X tables and the HPET stay writable for Domain 0, whose drivers map what surrounds them;
// Linux writes neither under a hypervisor.
bool may_map_device_frame(const Domain& domain, Mfn mfn) {
    return domain.is_hardware && mfn.raw() < frame_limit() && !is_interrupt_controller(mfn);
}

}  // namespace hv::arch
