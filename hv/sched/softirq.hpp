// Work that an interrupt or another CPU asks of a CPU, done on its way back to a guest (or in the
// idle loop), with nothing on the stack and no lock held.
#pragma once

#include "hv/limits.hpp"

namespace hv {

enum class Softirq : uint8_t {
    kTimer,     // timers are due
    kSchedule,  // choose a vCPU anew
    kRcu,       // a grace period may be over
    kTasklet,   // deferred calls (tasklet.hpp)
    kTime,      // recalibration
    kCount,
};

using SoftirqHandler = void (*)();
void set_softirq_handler(Softirq which, SoftirqHandler handler);

void raise_softirq(Softirq which);              ///< on this CPU
void raise_softirq_on(CpuId cpu, Softirq which);  ///< on any; kicks it
bool softirq_pending();                          ///< on this CPU
void process_softirqs();                         ///< runs handlers until nothing is pending

}  // namespace hv
