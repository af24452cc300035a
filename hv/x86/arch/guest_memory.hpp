// Reaching into the memory of the guest that runs here. For PV the guest's own page tables are
// loaded, so its linear addresses work; a fault on the way ends in an error, not in a panic.
// hv/hypercall/guest_ptr.hpp wraps these in types; use those.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"
#ifndef XENOLITH_HOST
#include "hv/x86/cpu/guest_access.hpp"
#endif

namespace hv::arch {

/// kEFAULT if any byte is not accessible to the guest or lies in the hypervisor's range.
Result<> copy_from_guest(void* to, uint64_t guest_linear, size_t bytes);
Result<> copy_to_guest(uint64_t guest_linear, const void* from, size_t bytes);
Result<> clear_guest(uint64_t guest_linear, size_t bytes);

/// The same for a structure whose size is known when compiling: small ones are copied in line.
template <size_t kBytes>
inline Result<> fetch_from_guest(void* to, uint64_t guest_linear) {
#ifndef XENOLITH_HOST
    if constexpr (kBytes <= cpu::kInlineCopy) {
        if (!cpu::fetch_from_guest<kBytes>(to, guest_linear)) return Errno::kEFAULT;
        return {};
    }
#endif
    return copy_from_guest(to, guest_linear, kBytes);
}
template <size_t kBytes>
inline Result<> store_to_guest(uint64_t guest_linear, const void* from) {
#ifndef XENOLITH_HOST
    if constexpr (kBytes <= cpu::kInlineCopy) {
        if (!cpu::store_to_guest<kBytes>(guest_linear, from)) return Errno::kEFAULT;
        return {};
    }
#endif
    return copy_to_guest(guest_linear, from, kBytes);
}

}  // namespace hv::arch
