// XXH64 with seed 0, the checksum of a Zstandard frame (xxhash_spec.md).
#pragma once

#include <cstdint>
#include <span>

namespace hv::boot::zstd {

uint64_t xxh64(std::span<const uint8_t> bytes);

}  // namespace hv::boot::zstd
