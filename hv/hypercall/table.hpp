// The hypercall table.
#pragma once

#include <atomic>

#include "hv/hypercall/outcome.hpp"

namespace hv {

inline constexpr uint64_t kHypercalls = 64;  ///< NR_hypercalls of the ABI

struct HypercallTable {
    HypercallHandler handler[kHypercalls];
};
extern "C" const HypercallTable hypercall_table;

/// What calls go by, the entry code's too: hypercall_table, or the same with records of each call
/// (traced.hpp).
extern "C" std::atomic<const HypercallTable*> hypercalls_in_use;

/// What carries it out; for a number that is none, a function that answers -ENOSYS.
HypercallHandler find_hypercall(uint64_t number);

}  // namespace hv
