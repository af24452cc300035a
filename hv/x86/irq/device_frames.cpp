// Which frames of device memory a domain may map, and how.
#include "arch/domain.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/cpu/native.hpp"
#include "hv/x86/irq/msix_tables.hpp"

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

/// Pages that the hypervisor writes and Domain 0 may look at: I/O APICs, the HPET, and the tables
/// of MSI-X, where a message written could be any interrupt of the machine's.
bool is_ours_to_write(Mfn mfn) {
    const acpi::Info& info = acpi::info();
    for (const acpi::IoApicEntry& ioapic : info.ioapics)
        if (mfn == mfn_of(ioapic.address)) return true;
    if (info.hpet_address && mfn == mfn_of(info.hpet_address)) return true;
    return irq::is_msix_table(mfn);
}

}  // namespace

DeviceAccess device_access(const Domain& domain, Mfn mfn) {
    if (!domain.is_hardware || mfn.raw() >= frame_limit()) return DeviceAccess::kNone;
    if (mfn == mfn_of(acpi::info().lapic_address)) return DeviceAccess::kNone;
    return is_ours_to_write(mfn) ? DeviceAccess::kReadOnly : DeviceAccess::kFull;
}

}  // namespace hv::arch
