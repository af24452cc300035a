// The platform_op hypercall: what the privileged domain asks of the machine itself.
#include "hv/x86/acpi/platform.hpp"

#include <algorithm>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "arch/time.hpp"
#include "hv/console/symbols.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/policy/policy.hpp"
#include "hv/x86/irq/irq.hpp"

namespace hv::acpi::platform {
namespace {

Outcome settime(uint64_t seconds, uint32_t nanoseconds, uint64_t system_time) {
    TRY(policy::check(policy::Op::kSetTimeHost, *arch::current().domain));
    arch::set_wallclock(seconds, nanoseconds, static_cast<Nanoseconds>(system_time));
    return Outcome(0);
}

Outcome settime32(const Request&, xen_platform_op& op) {
    const auto& t = op.u.settime32;
    return settime(t.secs, t.nsecs, t.system_time);
}

Outcome settime64(const Request&, xen_platform_op& op) {
    const auto& t = op.u.settime64;
    if (t.mbz) return Errno::kEINVAL;
    return settime(t.secs, t.nsecs, t.system_time);
}

Outcome platform_quirk(const Request&, xen_platform_op& op) {
    switch (op.u.platform_quirk.quirk_id) {
        case QUIRK_NOIRQBALANCING:
            irq::stop_balancing();
            return Outcome(0);
        // The I/O APIC's index register is written before every access here: both are the same.
        case QUIRK_IOAPIC_BAD_REGSEL:
        case QUIRK_IOAPIC_GOOD_REGSEL:
            return Outcome(0);
        default:
            return Errno::kEINVAL;
    }
}

/// What a BIOS keeps for the interrupt 16h, function 2: the byte at 40:17.
Result<uint8_t> keyboard_shift_flags() {
    constexpr uint64_t kBiosDataArea = 0x400;
    constexpr size_t kShiftFlags = 0x17;
    static const volatile uint8_t* area;
    if (!area)
        area = static_cast<const volatile uint8_t*>(
            arch::map_device(kBiosDataArea, 256, arch::Caching::kCached));
    if (!area) return Errno::kENOMEM;
    return static_cast<uint8_t>(area[kShiftFlags]);
}

Outcome firmware_info(const Request& guest, xen_platform_op& op) {
    auto& info = op.u.firmware_info;
    switch (info.type) {
        // Disks and monitor are known to the BIOS's real mode only, which is behind us.
        case XEN_FW_DISK_INFO:
        case XEN_FW_DISK_MBR_SIGNATURE:
        case XEN_FW_VBEDDC_INFO:
            return Errno::kESRCH;
        case XEN_FW_EFI_INFO:
            TRY(efi_info(info.index, info.u.efi_info));
            return answer(guest, op, info.u.efi_info);
        case XEN_FW_KBD_SHIFT_FLAGS:
            if (info.index != 0) return Errno::kESRCH;
            info.u.kbd_shift_flags = TRY(keyboard_shift_flags());
            return answer(guest, op, info.u.kbd_shift_flags);
        default:
            return Errno::kEINVAL;
    }
}

/// Linux asks from 0 on until the number no longer grows (/proc/xen/xensyms).
Outcome get_symbol(const Request& guest, xen_platform_op& op) {
    auto& request = op.u.symdata;
    if (request.symnum > symbols::count()) return Errno::kERANGE;
    symbols::Symbol symbol = {0, 0, {}};
    if (request.symnum < symbols::count()) symbol = symbols::at(request.symnum++);
    const size_t room = request.namelen;
    request.type = symbol.type;
    request.address = symbol.address;
    request.namelen = static_cast<uint32_t>(symbol.name.size() + 1);
    const GuestOut<char> name(request.name);
    // The text lies in the table with a zero behind it; at the end there is none but the zero.
    const std::span<const char> text(symbol.name.data() ? symbol.name.data() : "",
                                     std::min<size_t>(room, request.namelen));
    TRY(name.store_many(text));
    return answer(guest, op, request);
}

struct Row {
    uint32_t command;
    Handler handler;
};

// Refused, -ENOSYS: changing memory types (they stay as the firmware has set them), microcode
// (firmware's business too), hot-adding of CPUs and memory (all come up at boot).
// Frequencies and idle times (change_freq, getidletime) are -ENOSYS in Xen too
// unless Domain 0's kernel governs frequencies.
constexpr Row kRows[] = {
    {XENPF_settime32, settime32},
    {XENPF_settime64, settime64},
    {XENPF_platform_quirk, platform_quirk},
    {XENPF_firmware_info, firmware_info},
    {XENPF_enter_acpi_sleep, enter_acpi_sleep},
    {XENPF_set_processor_pminfo, set_processor_pminfo},
    {XENPF_get_cpuinfo, get_cpuinfo},
    {XENPF_get_cpu_version, get_cpu_version},
    {XENPF_read_memtype, read_memtype},
    {XENPF_cpu_online, cpu_online},
    {XENPF_cpu_offline, cpu_offline},
    {XENPF_core_parking, core_parking},
    {XENPF_resource_op, resource_op},
    {XENPF_efi_runtime_call, efi_runtime_call},
    {XENPF_get_symbol, get_symbol},
};

}  // namespace
}  // namespace hv::acpi::platform

namespace hv {

Outcome do_platform_op(uint64_t argument, uint64_t, uint64_t, uint64_t, uint64_t) {
    const acpi::platform::Request guest(argument);
    auto op = TRY(guest.load());
    if (op.interface_version != XENPF_INTERFACE_VERSION) return Errno::kEACCES;
    TRY(policy::check(policy::Op::kControlHost, *arch::current().domain));
    for (const auto& row : acpi::platform::kRows)
        if (row.command == op.cmd) return row.handler(guest, op);
    return Errno::kENOSYS;
}

}  // namespace hv
