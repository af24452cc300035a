// How CPUs with nothing to do have slept, for `xenpm get-cpuidle-states`.
#pragma once

#include "hv/limits.hpp"

namespace hv::sched {

struct Sleeps {
    uint64_t count;  ///< times it went to sleep
    uint64_t time;   ///< nanoseconds, without a sleep that still lasts
};
Sleeps sleeps_of(CpuId cpu);

}  // namespace hv::sched
