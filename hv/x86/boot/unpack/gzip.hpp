// Unpacks the gzip format: one member, packed by deflate (RFC 1952).
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/x86/boot/reader.hpp"

namespace hv::boot {

/// Unpacks the member at the start of `packed`; what follows it is not looked at. The rest is as
/// unpack() says, but that it does not log.
Result<> gzip_unpack(Bytes packed, std::span<uint8_t> output);

}  // namespace hv::boot
