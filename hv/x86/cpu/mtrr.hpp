// Memory type range registers, as the firmware has set them. They stay so: what PV guests want of a
// page's memory type they say in its table entry (PAT).
#pragma once

#include <cstdint>

#include "arch/memory.hpp"
#include "base/result.hpp"

namespace hv::cpu {

struct MemoryTypeRange {
    Mfn first{0};
    uint64_t frames = 0;  ///< 0: the register is not in use
    uint8_t type = 0;     ///< AMD64 manual vol. 2, 7.7.1
};

/// kEINVAL: the CPU has no such variable-range register.
Result<MemoryTypeRange> variable_mtrr(uint32_t number);

}  // namespace hv::cpu
