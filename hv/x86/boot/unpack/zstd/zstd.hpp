// Unpacks Zstandard (RFC 8878), as `zstd` writes it for kernels: frames without a dictionary.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/x86/boot/reader.hpp"

namespace hv::boot {

/// Unpacks all frames in `packed`; whatever window they ask for, the output serves as such. The
/// rest is as unpack() says, but that it does not log.
Result<> zstd_unpack(Bytes packed, std::span<uint8_t> output);

}  // namespace hv::boot
