// Which frames of device memory a domain may map, and how.
#include "arch/domain.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/cpu/native.hpp"
#include "hv/x86/irq/msix_tables.hpp"

namespace hv::arch {
namespace {

/// Interrupt controllers: whoever writes them can take the machine's interrupts away from us.
bool has_interrupt_controller(Mfn first, Mfn last) {
    const acpi::Info& info = acpi::info();
    const auto inside = [&](uint64_t address) {
        return first <= mfn_of(address) && mfn_of(address) <= last;
    };
    if (inside(info.lapic_address)) return true;
    for (const acpi::IoApicEntry& ioapic : info.ioapics)
        if (inside(ioapic.address)) return true;
    return false;
}

/// By what XEN_DOMCTL_iomem_permission has given or taken.
bool is_permitted(const Domain& domain, Mfn first, Mfn last) {
    const auto* listed = domain.arch.device_frames;
    if (domain.is_hardware) return !listed || !listed->overlaps(first.raw(), last.raw());
    return listed && listed->contains(first.raw(), last.raw());
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
    if (mfn.raw() >= machine_frame_limit() || !is_permitted(domain, mfn, mfn))
        return DeviceAccess::kNone;
    if (mfn == mfn_of(acpi::info().lapic_address)) return DeviceAccess::kNone;
    if (!is_ours_to_write(mfn)) return DeviceAccess::kFull;
    return domain.is_hardware ? DeviceAccess::kReadOnly : DeviceAccess::kNone;
}

bool may_give_device_frames(const Domain& domain, Mfn first, Mfn last) {
    return last.raw() < machine_frame_limit() && !has_interrupt_controller(first, last) &&
           is_permitted(domain, first, last);
}

Result<> permit_device_frames(Domain& domain, Mfn first, Mfn last, bool allow) {
    AloneGuard guard(domain.arch.paging_lock);
    auto*& listed = domain.arch.device_frames;
    const bool list = allow != domain.is_hardware;  // Domain 0's list is of what it may not
    if (!listed) {
        if (!list) return {};
        listed = heap::create<base::RangeSet<32>>();
        if (!listed) return Errno::kENOMEM;
    }
    return list ? listed->add(first.raw(), last.raw()) : listed->remove(first.raw(), last.raw());
}

/// In an entry with more, a reserved bit is set, and the guest's next access would fault in a way
/// it cannot see.
uint64_t machine_frame_limit() {
    constexpr uint32_t kAddressSizes = 0x80000008;
    static uint64_t limit;
    if (!limit) limit = uint64_t{1} << ((native::cpuid(kAddressSizes).a & 0xff) - kPageShift);
    return limit;
}

}  // namespace hv::arch
