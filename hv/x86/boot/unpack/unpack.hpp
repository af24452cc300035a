// How kernels are packed, and their unpacking: one dispatch by how the bytes begin.
//
// Each format has its own file or folder here. All of them decode straight into the output, which
// is at the same time what they refer back to: no window is kept and copied.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.hpp"
#include "hv/x86/boot/reader.hpp"

namespace hv::boot {

/// kNone: not packed at all; kForeign: known by name only.
enum class Packing : uint8_t { kNone, kXz, kGzip, kZstd, kLz4, kForeign };

struct PackedFormat {
    Packing packing;
    std::string_view magic;  ///< how it begins
    std::string_view name;
};

/// Which of the formats that Linux's build can make `packed` begins like; null: none of them.
const PackedFormat* packed_format(Bytes packed);

/// Unpacks `packed` into `output`, which it must fill exactly. Needs up to 160 KiB of heap.
/// On failure `output` holds anything, and the log has one line that says why:
/// kEINVAL damaged, kENODATA truncated, kENOSPC or kE2BIG unpacks to another size than `output`,
/// kEOPNOTSUPP packed in a way that is not supported, kENOMEM.
Result<> unpack(Packing packing, Bytes packed, std::span<uint8_t> output);

}  // namespace hv::boot
