// Work that an interrupt or another CPU asks of a CPU, done on its way back to a guest (or in the
// idle loop), with nothing on the stack and no lock held.
#pragma once

#include <atomic>

#include "arch/cpu.hpp"
#include "hv/limits.hpp"

namespace hv {

/// In order of precedence. kSchedule may leave for another vCPU and not return, so what is cheap
/// comes before it; what is still pending then is done on that vCPU's way out.
enum class Softirq : uint8_t {
    kTimer,      // timers are due
    kRcu,        // a grace period may be over
    kTime,       // the clock's scale has changed
    kSchedule,   // choose a vCPU anew
    kConsole,    // the ring has new text: whoever reads it is told
    kTrace,      // a trace buffer is half full: whoever reads it is told
    kLowMemory,  // little memory is left: the tools are told
    kExitWork,   // nothing itself: the way back to the guest is to look at everything
    kCount,
};

using SoftirqHandler = void (*)();
void set_softirq_handler(Softirq which, SoftirqHandler handler);

void raise_softirq(Softirq which);                ///< on this CPU
void raise_softirq_on(CpuId cpu, Softirq which);  ///< on any; kicks it
void process_softirqs();                          ///< runs handlers until nothing is pending

namespace softirq_detail {
extern PerCpu<std::atomic<uint32_t>> pending;  ///< one bit for each Softirq
}

/// On this CPU; one load, since every way back to a guest asks.
inline bool softirq_pending() {
    return softirq_detail::pending.on(arch::this_cpu()).load(std::memory_order_relaxed) != 0;
}

/// The word of `cpu`, not zero while something is pending: for code that cannot ask.
inline const void* softirq_word(CpuId cpu) {
    return &softirq_detail::pending.on(cpu);
}

}  // namespace hv
