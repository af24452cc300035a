// The x86 branch filter of XZ (filter id 4): before packing, the relative targets of CALL and JMP
// were made absolute, because equal targets pack better. This makes them relative again.
#pragma once

#include <cstdint>
#include <span>

namespace hv::boot::xz {

/// Undoes the filter over a whole block, in place; the block's first byte counts as address 0.
void undo_x86_filter(std::span<uint8_t> block);

}  // namespace hv::boot::xz
