// CRC-32 as XZ, gzip and Ethernet use it (reflected polynomial 0xEDB88320).
#pragma once

#include <cstdint>
#include <span>

namespace hv::boot {

/// The CRC of `bytes`, continuing `crc` (0 for the first piece).
uint32_t crc32(std::span<const uint8_t> bytes, uint32_t crc = 0);

}  // namespace hv::boot
