// XENPF_efi_runtime_call, and XENPF_firmware_info of EFI: what Domain 0's kernel knows of a
// firmware whose only caller is the hypervisor. Rules: xen/platform.h; the services: UEFI 2.10,
// chapter 8.
//
// The firmware gets buffers of ours, never the guest's: what it is handed is copied in before, and
// what it says is copied out after.
#include "hv/x86/acpi/platform.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/memory/heap.hpp"
#include "hv/x86/efi/efi.hpp"

namespace hv::acpi::platform {
namespace {

using efi::RuntimeServices;
using efi::Status;

// More than any variable has (dbx, the largest one seen, is about 20 KiB): what a guest makes us
// allocate has a limit.
constexpr uint64_t kMaxBytes = 256 * 1024;
constexpr size_t kMaxName = 1024;  // characters, with the 0

using Call = xenpf_efi_runtime_call;

/// The firmware's time and Xen's are the same bytes but for the padding.
efi::Time from_guest(const xenpf_efi_time& t) {
    return {.year = t.year,
            .month = t.month,
            .day = t.day,
            .hour = t.hour,
            .minute = t.min,
            .second = t.sec,
            .padding1 = 0,
            .nanosecond = t.ns,
            .time_zone = t.tz,
            .daylight = t.daylight,
            .padding2 = 0};
}
xenpf_efi_time to_guest(const efi::Time& t) {
    return {t.year,   t.month,      t.day,       t.hour,    t.minute,
            t.second, t.nanosecond, t.time_zone, t.daylight};
}
efi::Guid from_guest(const xenpf_efi_guid& g) {
    efi::Guid guid{g.data1, g.data2, g.data3, {}};
    __builtin_memcpy(guid.d, g.data4, sizeof guid.d);
    return guid;
}
xenpf_efi_guid to_guest(const efi::Guid& g) {
    xenpf_efi_guid guid{g.a, g.b, g.c, {}};
    __builtin_memcpy(guid.data4, g.d, sizeof guid.data4);
    return guid;
}

/// A variable's name, which ends in 0. kEFAULT, kENOMEM; kEINVAL: longer than any.
template <class Handle>
Result<heap::OwnedArray<char16_t>> name_from_guest(const Handle& handle) {
    const GuestIn<char16_t> from(handle);
    auto name = TRY(heap::OwnedArray<char16_t>::create(kMaxName));
    for (size_t n = 0; n < kMaxName; ++n) {
        name[n] = TRY(from.load(n));
        if (!name[n]) return name;
    }
    return Errno::kEINVAL;
}

/// A buffer of the caller's size; at least one byte, so that there is an address.
Result<heap::OwnedArray<uint8_t>> buffer_of(uint64_t bytes) {
    if (bytes > kMaxBytes) return Errno::kENOMEM;
    return heap::OwnedArray<uint8_t>::create(bytes ? bytes : 1);
}

bool good(Status status) {
    return !(status >> 63);
}

Result<> get_time(Call& call) {
    if (call.misc) return Errno::kEINVAL;
    efi::Time time{};
    efi::TimeCapabilities able{};
    call.status =
        efi::with_runtime([&](const RuntimeServices& rs) { return rs.get_time(&time, &able); });
    if (!good(call.status)) return {};
    call.u.get_time = {to_guest(time), able.resolution, able.accuracy};
    if (able.sets_to_zero) call.misc = XEN_EFI_GET_TIME_SET_CLEARS_NS;
    return {};
}

Result<> set_time(Call& call) {
    if (call.misc) return Errno::kEINVAL;
    const efi::Time time = from_guest(call.u.set_time);
    call.status = efi::with_runtime([&](const RuntimeServices& rs) { return rs.set_time(&time); });
    return {};
}

Result<> get_wakeup_time(Call& call) {
    if (call.misc) return Errno::kEINVAL;
    efi::Time time{};
    bool enabled = false, pending = false;
    call.status = efi::with_runtime(
        [&](const RuntimeServices& rs) { return rs.get_wakeup_time(&enabled, &pending, &time); });
    if (!good(call.status)) return {};
    call.u.get_wakeup_time = to_guest(time);
    if (enabled) call.misc |= XEN_EFI_GET_WAKEUP_TIME_ENABLED;
    if (pending) call.misc |= XEN_EFI_GET_WAKEUP_TIME_PENDING;
    return {};
}

Result<> set_wakeup_time(Call& call) {
    if (call.misc & ~(XEN_EFI_SET_WAKEUP_TIME_ENABLE | XEN_EFI_SET_WAKEUP_TIME_ENABLE_ONLY))
        return Errno::kEINVAL;
    const efi::Time time = from_guest(call.u.set_wakeup_time);
    const bool enable = call.misc & XEN_EFI_SET_WAKEUP_TIME_ENABLE;
    const efi::Time* at = call.misc & XEN_EFI_SET_WAKEUP_TIME_ENABLE_ONLY ? nullptr : &time;
    call.status = efi::with_runtime(
        [&](const RuntimeServices& rs) { return rs.set_wakeup_time(enable, at); });
    call.misc = 0;
    return {};
}

Result<> next_count(Call& call) {
    if (call.misc) return Errno::kEINVAL;
    uint32_t count = 0;
    call.status = efi::with_runtime(
        [&](const RuntimeServices& rs) { return rs.get_next_high_monotonic_count(&count); });
    call.misc = count;
    return {};
}

Result<> get_variable(Call& call) {
    if (call.misc) return Errno::kEINVAL;
    auto& arguments = call.u.get_variable;
    const auto name = TRY(name_from_guest(arguments.name));
    const auto data = TRY(buffer_of(arguments.size));
    const efi::Guid guid = from_guest(arguments.vendor_guid);
    const uint64_t room = arguments.size;
    uint64_t size = room;
    uint32_t attributes = 0;
    call.status = efi::with_runtime([&](const RuntimeServices& rs) {
        return rs.get_variable(name.data(), &guid, &attributes, &size,
                               room ? data.data() : nullptr);
    });
    // Firmware that claims to have written more than there was room for is not believed.
    if (good(call.status))
        TRY(GuestOut<uint8_t>(arguments.data).store_many({data.data(), size < room ? size : room}));
    call.misc = attributes;
    arguments.size = size;
    return {};
}

Result<> set_variable(Call& call) {
    auto& arguments = call.u.set_variable;
    const auto name = TRY(name_from_guest(arguments.name));
    const auto data = TRY(buffer_of(arguments.size));
    TRY(GuestIn<uint8_t>(arguments.data).load_many({data.data(), arguments.size}));
    const efi::Guid guid = from_guest(arguments.vendor_guid);
    call.status = efi::with_runtime([&](const RuntimeServices& rs) {
        return rs.set_variable(name.data(), &guid, call.misc, arguments.size, data.data());
    });
    return {};
}

Result<> next_name(Call& call) {
    if (call.misc) return Errno::kEINVAL;
    auto& arguments = call.u.get_next_variable_name;
    const auto name = TRY(buffer_of(arguments.size));
    TRY(GuestIn<uint8_t>(arguments.name).load_many({name.data(), arguments.size}));
    efi::Guid guid = from_guest(arguments.vendor_guid);
    const uint64_t room = arguments.size;
    uint64_t size = room;
    call.status = efi::with_runtime([&](const RuntimeServices& rs) {
        return rs.get_next_variable_name(&size, reinterpret_cast<char16_t*>(name.data()), &guid);
    });
    // The whole buffer: some firmware leaves the size as it was.
    if (good(call.status)) TRY(GuestOut<uint8_t>(arguments.name).store_many({name.data(), room}));
    arguments.size = size;
    arguments.vendor_guid = to_guest(guid);
    return {};
}

Result<> query_variables(Call& call) {
    if (call.misc & ~XEN_EFI_VARINFO_BOOT_SNAPSHOT) return Errno::kEINVAL;
    // What the store held when the machine started is not kept here: before Linux has written.
    if (call.misc & XEN_EFI_VARINFO_BOOT_SNAPSHOT) return Errno::kEOPNOTSUPP;
    if (efi::runtime_revision() >> 16 < 2) return Errno::kEOPNOTSUPP;
    auto& arguments = call.u.query_variable_info;
    uint64_t store = 0, left = 0, largest = 0;
    call.status = efi::with_runtime([&](const RuntimeServices& rs) {
        return rs.query_variable_info(arguments.attr, &store, &left, &largest);
    });
    arguments.max_store_size = store;
    arguments.remain_store_size = left;
    arguments.max_size = largest;
    return {};
}

Result<> dispatch(Call& call) {
    switch (call.function) {
        case XEN_EFI_get_time:
            return get_time(call);
        case XEN_EFI_set_time:
            return set_time(call);
        case XEN_EFI_get_wakeup_time:
            return get_wakeup_time(call);
        case XEN_EFI_set_wakeup_time:
            return set_wakeup_time(call);
        case XEN_EFI_get_next_high_monotonic_count:
            return next_count(call);
        case XEN_EFI_get_variable:
            return get_variable(call);
        case XEN_EFI_set_variable:
            return set_variable(call);
        case XEN_EFI_get_next_variable_name:
            return next_name(call);
        case XEN_EFI_query_variable_info:
            return query_variables(call);
        // A capsule's pieces are machine memory of the caller's, which nothing would check.
        case XEN_EFI_query_capsule_capabilities:
        case XEN_EFI_update_capsule:
            return Errno::kEOPNOTSUPP;
        default:
            return Errno::kENOSYS;
    }
}

Result<> vendor_info(EfiInfo& info) {
    const auto name = efi::vendor();
    if (name.empty()) return Errno::kEOPNOTSUPP;
    info.vendor.revision = efi::system_table()->firmware_revision;
    const GuestOut<char16_t> to(info.vendor.name);
    const size_t room = info.vendor.bufsz / sizeof(char16_t);
    for (size_t n = 0; n < room && n <= name.size(); ++n)
        TRY(to.store(n < name.size() ? name[n] : u'\0', n));
    return {};
}

Result<> memory_info(EfiInfo& info) {
    const efi::MemoryDescriptor* d = efi::find_memory(info.mem.addr);
    if (!d) return Errno::kESRCH;
    const uint64_t left = d->physical_start + d->pages * kPageSize - info.mem.addr;
    info.mem.type = d->type;
    info.mem.attr = d->attributes;
    if (info.mem.size > left) info.mem.size = left;
    return {};
}

}  // namespace

Result<> efi_info(uint32_t index, EfiInfo& info) {
    const efi::SystemTable* table = efi::system_table();
    if (!table) return Errno::kENOSYS;  // what Xen says when not booted by EFI
    switch (index) {
        case XEN_FW_EFI_VERSION:
            info.version = table->header.revision;
            return {};
        case XEN_FW_EFI_RT_VERSION:
            if (!efi::runtime_revision()) return Errno::kEOPNOTSUPP;
            info.version = efi::runtime_revision();
            return {};
        case XEN_FW_EFI_CONFIG_TABLE:
            info.cfg.addr = table->configuration_tables;
            info.cfg.nent = static_cast<uint32_t>(table->table_count);
            return {};
        case XEN_FW_EFI_VENDOR:
            return vendor_info(info);
        case XEN_FW_EFI_MEM_INFO:
            return memory_info(info);
        // Only the boot services would have told where.
        case XEN_FW_EFI_PCI_ROM:
            return Errno::kESRCH;
        case XEN_FW_EFI_APPLE_PROPERTIES:
            return Errno::kENODATA;
        default:
            return Errno::kEINVAL;
    }
}

Outcome efi_runtime_call(const Request& guest, xen_platform_op& op) {
    if (!efi::system_table()) return Errno::kENOSYS;
    if (!efi::runtime_revision()) return Errno::kEOPNOTSUPP;
    TRY(dispatch(op.u.efi_runtime_call));
    return answer(guest, op, op.u.efi_runtime_call);
}

}  // namespace hv::acpi::platform
