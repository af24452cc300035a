// Unpacks the .xz format as `xz` writes it for kernels: LZMA2, optionally under the x86 branch
// filter, with CRC32 or no check (xz-file-format.txt, version 1.1.0).
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::boot {

/// Whether `packed` begins like an .xz file.
bool is_xz(std::span<const uint8_t> packed);

/// Unpacks the one stream in `packed` into `output`, which it must fill exactly; what follows the
/// stream is not looked at. Needs about 28 KiB of heap.
/// On failure `output` holds anything, and the log one line that says why:
/// kEINVAL damaged, kENODATA truncated, kENOSPC or kE2BIG unpacks to another size than `output`,
/// kEOPNOTSUPP packed in a way that is not supported, kENOMEM.
Result<> xz_unpack(std::span<const uint8_t> packed, std::span<uint8_t> output);

}  // namespace hv::boot
