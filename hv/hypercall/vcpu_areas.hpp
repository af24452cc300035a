// Memory that a guest gives the hypervisor to write a vCPU's information to (VCPUOP_register_*).
#pragma once

#include <cstdint>

#include <xen/vcpu.h>

#include "hv/domain/vcpu.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/outcome.hpp"

namespace hv {

/// False for a vCPU beyond those in the shared info that has not registered its own yet: it cannot
/// be told of events, so it may not be brought up.
bool has_vcpu_info(const Vcpu& vcpu);

/// Moves the vCPU's vcpu_info, once, to a frame of its domain. Of the caller itself or of a vCPU
/// that is down. kENXIO: crosses the page's end, or is not aligned; kEINVAL: done before, or the
/// frame cannot be written; kEFAULT.
Result<> register_vcpu_info(Vcpu& vcpu, GuestIn<vcpu_register_vcpu_info> arg);

/// From now on the runstate / the time is also written to a linear address, which is written to at
/// once. kEFAULT: it cannot be.
Result<> register_runstate_area(Vcpu& vcpu, GuestIn<vcpu_register_runstate_memory_area> arg);
Result<> register_time_area(Vcpu& vcpu, GuestIn<vcpu_register_time_memory_area> arg);

}  // namespace hv
