// The MSRs that belong to a vCPU's state and are not in vcpu_guest_context: what is saved and
// restored with it (XEN_DOMCTL_get_vcpu_msrs, _set_vcpu_msrs).
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {
struct Vcpu;
}

namespace hv::pv {

/// Their numbers, in the order in which they are told.
std::span<const uint32_t> state_msrs();
/// The value in a vCPU that is not running; 0 for what its guest does not have.
uint64_t state_msr(const Vcpu& vcpu, uint32_t number);
/// kEINVAL: not one of them, not its guest's to have, or reserved bits.
Result<> set_state_msr(Vcpu& vcpu, uint32_t number, uint64_t value);

}  // namespace hv::pv
