// Control operations, domctl and sysctl, run one at a time: pools of CPUs, domains and their vCPUs
// may be changed by either, and several of them pause domains and wait for it. Whoever finds it
// taken comes again: waiting for it would be waiting for a CPU that perhaps waits for this vCPU.
#pragma once

#include "base/lock.hpp"
#include "hv/lock_rank.hpp"

namespace hv {

inline constinit base::SpinLock control_lock{static_cast<uint8_t>(Rank::kDomctl)};

}  // namespace hv
