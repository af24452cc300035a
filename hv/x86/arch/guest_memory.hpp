// Reaching into the memory of the guest that runs here. For PV the guest's own page tables are
// loaded, so its linear addresses work; a fault on the way ends in an error, not in a panic.
// hv/hypercall/guest_ptr.hpp wraps these in types; use those.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::arch {

/// kEFAULT if any byte is not accessible to the guest or lies in the hypervisor's range.
Result<> copy_from_guest(void* to, uint64_t guest_linear, size_t bytes);
Result<> copy_to_guest(uint64_t guest_linear, const void* from, size_t bytes);
Result<> clear_guest(uint64_t guest_linear, size_t bytes);

}  // namespace hv::arch
