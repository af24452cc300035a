// System time as a line through (tsc, ns). All CPUs use the same one, their TSCs being in step;
// correction bends it, it never jumps.
#pragma once

#include "hv/limits.hpp"
#include "hv/x86/time/scale.hpp"

namespace hv::time {

struct Line {
    uint64_t tsc = 0;
    uint64_t ns = 0;
    Scale scale;

    uint64_t at(uint64_t now_tsc) const {
        // A CPU whose TSC is a hair behind the one that drew the line sees its beginning.
        return now_tsc > tsc ? ns + scale.to_ns(now_tsc - tsc) : ns;
    }
};

/// The line in force, and its number (never 0 once there is one). Lock-free.
Line current_line(uint64_t& version);
/// Its number alone; odd while another line takes its place.
uint64_t line_version();

/// Goes on at `rate` from where the clock stands at `tsc`. One CPU at a time.
void bend(uint64_t tsc, Rate rate);
/// Starts the clock: system time 0 is at `tsc`.
void start_clock(uint64_t tsc, Rate rate);
Rate current_rate();

}  // namespace hv::time
