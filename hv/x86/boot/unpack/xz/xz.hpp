// Unpacks the .xz format as `xz` writes it for kernels: LZMA2, optionally under the x86 branch
// filter, with CRC32 or no check (xz-file-format.txt, version 1.1.0).
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/x86/boot/reader.hpp"

namespace hv::boot {

/// Unpacks the one stream in `packed`; what follows the stream is not looked at. The rest is as
/// unpack() says, but that it does not log.
Result<> xz_unpack(Bytes packed, std::span<uint8_t> output);

}  // namespace hv::boot
