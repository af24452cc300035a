// What Domain 0's ACPI interpreter found out of each processor's idle and performance states and
// told the hypervisor (XENPF_set_processor_pminfo). Recorded; nothing steers by it yet.
#pragma once

#include <array>
#include <cstdint>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::acpi {

struct IdleState {
    uint8_t type = 0;  ///< 1 for C1 …
    uint32_t latency_us = 0;
    uint32_t power_mw = 0;
};
struct PerformanceState {
    uint32_t megahertz = 0;
    uint32_t latency_us = 0;
};

struct ProcessorStates {
    static constexpr size_t kMaxIdle = 16, kMaxPerformance = 64;
    uint32_t idle_count = 0;
    std::array<IdleState, kMaxIdle> idle{};
    uint32_t performance_count = 0;
    std::array<PerformanceState, kMaxPerformance> performance{};
    uint32_t platform_limit = 0;  ///< _PPC: the first performance state that may be used
};

/// kEINVAL: no such CPU; kENODATA: nothing was told of it.
Result<ProcessorStates> processor_states(CpuId cpu);

}  // namespace hv::acpi
