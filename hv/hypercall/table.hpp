// The hypercall table.
#pragma once

#include "hv/hypercall/outcome.hpp"

namespace hv {

inline constexpr uint64_t kHypercalls = 64;  ///< NR_hypercalls of the ABI

/// What carries it out; for a number that is none, a function that answers -ENOSYS.
HypercallHandler find_hypercall(uint64_t number);

}  // namespace hv
