// Where MSI-X tables of functions are mapped in the hypervisor.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::irq {

/// The table of `bytes` bytes at a machine address, mapped uncached; the mapping stays, the next
/// call for the same place finds it. kEINVAL: RAM, or no address a table can have; kENOSPC.
Result<volatile uint32_t*> map_msix_table(uint64_t address, size_t bytes);

/// Whether a table that was mapped lies in this frame, in whole or in part.
bool is_msix_table(Mfn mfn);

}  // namespace hv::irq
