// The battery-backed clock of a PC (MC146818), read once at boot.
#pragma once

#include <cstdint>

#include "base/result.hpp"

namespace hv::time {

/// Its registers as they are read, for decode_rtc().
struct RtcRegisters {
    uint8_t seconds, minutes, hours, day, month, year;
    uint8_t status_b;
};

/// Seconds since 1970, UTC; kEINVAL if they are no date. Years below 70 are in this century.
base::Result<uint64_t> decode_rtc(RtcRegisters registers);

/// Reads it and sets the machine's wall clock, or warns that the clock says nothing sensible.
void read_rtc_into_wallclock();

/// Waits `seconds` to one more, at any moment of boot and without another clock; shorter if this
/// one stands still.
void wait_rtc_seconds(unsigned seconds);

}  // namespace hv::time
