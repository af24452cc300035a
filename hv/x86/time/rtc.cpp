#include "hv/x86/time/rtc.hpp"

namespace hv::time {
namespace {

constexpr uint8_t kBinary = 1 << 2, k24Hours = 1 << 1;  // status register B
constexpr uint8_t kAfternoon = 1 << 7;                  // of the hours, in 12-hour form

unsigned from_bcd(uint8_t value) {
    return (value >> 4) * 10u + (value & 0xf);
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March, so that the
/// leap day is the last of its year.
uint64_t days_since_1970(unsigned year, unsigned month, unsigned day) {
    const unsigned y = month <= 2 ? year - 1 : year;
    const unsigned m = month <= 2 ? month + 9 : month - 3;  // March is 0
    const unsigned day_of_year = (153 * m + 2) / 5 + day - 1;
    return uint64_t{y} * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

}  // namespace

base::Result<uint64_t> decode_rtc(RtcRegisters r) {
    const bool afternoon = !(r.status_b & k24Hours) && (r.hours & kAfternoon);
    if (!(r.status_b & k24Hours)) r.hours &= static_cast<uint8_t>(~kAfternoon);
    const auto value = [&](uint8_t raw) -> unsigned {
        return r.status_b & kBinary ? raw : from_bcd(raw);
    };
    const unsigned second = value(r.seconds), minute = value(r.minutes);
    const unsigned day = value(r.day), month = value(r.month), year = value(r.year);
    unsigned hour = value(r.hours);
    if (!(r.status_b & k24Hours)) hour = hour % 12 + (afternoon ? 12 : 0);
    if (second > 59 || minute > 59 || hour > 23 || day < 1 || day > 31 || month < 1 || month > 12 ||
        year > 99)
        return base::Errno::kEINVAL;
    const uint64_t days = days_since_1970(year + (year < 70 ? 2000 : 1900), month, day);
    return ((days * 24 + hour) * 60 + minute) * 60 + second;
}

}  // namespace hv::time
