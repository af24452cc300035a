// What the architecture owes guests that manage a device's view of memory: cache maintenance.
#pragma once

#include <cstddef>

namespace hv::arch {

/// Writes the cache lines of [from, from + bytes) back to memory and drops them, on all CPUs.
void flush_cache_lines(const void* from, size_t bytes);

}  // namespace hv::arch
