// The page tables that run-time services run in. Private to hv/x86/efi.
#pragma once

#include <span>

#include "hv/x86/efi/efi.hpp"

namespace hv::efi {

/// Maps what `map` marks for run time at its machine addresses and reads the table of services at
/// `services` there. Its revision, not 0; kEINVAL: it makes no sense; kENOMEM.
Result<uint32_t> open_runtime(uint64_t services, std::span<const MemoryDescriptor> map);

}  // namespace hv::efi
