// LZMA2: a sequence of chunks, packed by LZMA or stored, that share one dictionary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/x86/boot/unpack/xz/lzma.hpp"

namespace hv::boot::xz {

struct Lzma2Progress {
    size_t consumed;  ///< packed bytes, the end marker included
    size_t produced;  ///< unpacked bytes
};

/// Unpacks chunks from `packed` to the start of `output` up to the end marker. `packed` goes on
/// behind it for at least LzmaDecoder::kReadAhead bytes (in XZ: block check, index, footer).
/// kEINVAL: damaged; kENODATA: ends too early; kENOSPC: unpacks to more than `output`.
Result<Lzma2Progress> decode_lzma2(LzmaDecoder& decoder, std::span<const uint8_t> packed,
                                   std::span<uint8_t> output);

}  // namespace hv::boot::xz
