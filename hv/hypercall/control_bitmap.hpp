// struct xenctl_bitmap: sets of CPUs and nodes as control operations pass them.
#pragma once

#include <cstdint>

#include <xen/xen.h>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

/// The set that the caller's bitmap names; bits beyond our CPUs are left out. kEFAULT.
Result<CpuMask> load_bitmap(const xenctl_bitmap& from);

/// Writes as much of `mask` as the caller's bitmap has room for; what it has beyond is cleared.
/// kEFAULT.
Result<> store_bitmap(const xenctl_bitmap& into, const CpuMask& mask);

}  // namespace hv
