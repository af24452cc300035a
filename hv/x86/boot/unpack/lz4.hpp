// Unpacks what Linux's build packs with `lz4 -l`: the legacy frame (lz4_Frame_format.md), blocks of
// literals and matches (lz4_Block_format.md).
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/x86/boot/reader.hpp"

namespace hv::boot {

/// Unpacks all of `packed`. The format has no checksum: damage that leaves the sizes alone is not
/// noticed. The rest is as unpack() says, but that it does not log.
Result<> lz4_unpack(Bytes packed, std::span<uint8_t> output);

}  // namespace hv::boot
