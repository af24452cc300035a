// The families of XENPF_*; platform_op.cpp chooses among them. Rules: xen/platform.h.
#pragma once

#include <cstdint>

#include <xen/platform.h>

#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/outcome.hpp"

namespace hv::acpi::platform {

using Request = GuestInOut<xen_platform_op>;

/// One operation: `op` as copied in; what it answers goes back to the guest through `guest`.
using Handler = Outcome (*)(const Request& guest, xen_platform_op& op);

/// Copies one member of the union back, nothing else: the rest is not the handler's to change.
template <class Member>
Outcome answer(const Request& guest, const xen_platform_op& op, const Member& member) {
    const auto offset = reinterpret_cast<const char*>(&member) - reinterpret_cast<const char*>(&op);
    return arch::copy_to_guest(guest.raw() + static_cast<uint64_t>(offset), &member, sizeof member);
}

// platform_cpu.cpp
Outcome get_cpuinfo(const Request& guest, xen_platform_op& op);
Outcome get_cpu_version(const Request& guest, xen_platform_op& op);
Outcome read_memtype(const Request& guest, xen_platform_op& op);
Outcome cpu_online(const Request& guest, xen_platform_op& op);
Outcome cpu_offline(const Request& guest, xen_platform_op& op);
Outcome core_parking(const Request& guest, xen_platform_op& op);
Outcome resource_op(const Request& guest, xen_platform_op& op);

// platform_pm.cpp
Outcome enter_acpi_sleep(const Request& guest, xen_platform_op& op);
Outcome set_processor_pminfo(const Request& guest, xen_platform_op& op);

// hv/x86/efi/platform.cpp
using EfiInfo = decltype(xen_platform_op::u.firmware_info.u.efi_info);
/// XEN_FW_EFI_INFO: fills in `info` by `index`; kENOSYS: the machine was not started by UEFI.
Result<> efi_info(uint32_t index, EfiInfo& info);
Outcome efi_runtime_call(const Request& guest, xen_platform_op& op);

}  // namespace hv::acpi::platform
