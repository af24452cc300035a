// Reading the RTC's registers: the part of rtc.hpp that touches the machine.
#include "arch/time.hpp"
#include "hv/console/log.hpp"
#include "hv/x86/cpu/port_io.hpp"
#include "hv/x86/time/rtc.hpp"

namespace hv::time {
namespace {

constexpr uint16_t kIndex = 0x70, kData = 0x71;
constexpr uint8_t kSeconds = 0, kMinutes = 2, kHours = 4, kDay = 7, kMonth = 8, kYear = 9;
constexpr uint8_t kStatusA = 10, kStatusB = 11;
constexpr uint8_t kUpdating = 1 << 7;

uint8_t read(uint8_t index) {
    arch::out8(kIndex, index);
    return arch::in8(kData);
}

RtcRegisters read_all() {
    return {.seconds = read(kSeconds),
            .minutes = read(kMinutes),
            .hours = read(kHours),
            .day = read(kDay),
            .month = read(kMonth),
            .year = read(kYear),
            .status_b = read(kStatusB)};
}

/// A reading that no update came into: none was near before it, and the seconds stayed.
RtcRegisters read_settled() {
    constexpr unsigned kTries = 100'000;  // an update takes 2 ms at most; a read about 1 us
    RtcRegisters registers{};
    for (unsigned i = 0; i < kTries; ++i) {
        if (read(kStatusA) & kUpdating) continue;
        registers = read_all();
        if (registers.seconds == read(kSeconds)) break;
    }
    return registers;
}

}  // namespace

void read_rtc_into_wallclock() {
    const auto seconds = decode_rtc(read_settled());
    if (!seconds) {
        log(LogLevel::kWarning, "the real-time clock holds no date; wall clock starts at 1970");
        return;
    }
    arch::set_wallclock(*seconds, 0, arch::now());
}

void wait_rtc_seconds(unsigned seconds) {
    constexpr unsigned kTries = 20'000'000;  // emulators answer in a tenth of a microsecond
    uint8_t last = read(kSeconds);
    for (unsigned changes = 0; changes <= seconds; ++changes) {  // the first may come at once
        uint8_t now = last;
        for (unsigned i = 0; now == last && i < kTries; ++i) now = read(kSeconds);
        if (now == last) return;
        last = now;
    }
}

}  // namespace hv::time
