// Deflate (RFC 1951): literals and matches, each block with prefix codes of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/x86/boot/reader.hpp"

namespace hv::boot {

struct InflateProgress {
    size_t consumed;  ///< packed bytes; the rest of the last one's bits counts as consumed
    size_t produced;  ///< unpacked bytes
};

/// Unpacks the blocks at the start of `packed`, up to the one that says it is the last, to the
/// start of `output`. Needs 6 KiB of heap. kEINVAL: damaged; kENODATA: ends too early; kENOSPC:
/// unpacks to more than `output`; kENOMEM.
Result<InflateProgress> inflate(Bytes packed, std::span<uint8_t> output);

}  // namespace hv::boot
