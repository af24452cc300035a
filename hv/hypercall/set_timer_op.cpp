// set_timer_op: the current vCPU's one-shot timer, VIRQ_TIMER at an absolute system time.
#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/hypercall/handlers.hpp"

namespace hv {

Outcome do_set_timer_op(uint64_t a1, uint64_t, uint64_t, uint64_t, uint64_t) {
    const auto deadline = static_cast<Nanoseconds>(a1);
    Timer& timer = arch::current().singleshot_timer;
    if (deadline == 0) {
        timer.stop();
        return {};
    }
    // Linux arms a time far off when it has nothing to wait for, or when its own clock wraps: it
    // gets an early tick instead, in 100 ms, as from Xen.
    constexpr Nanoseconds kFarOff = Nanoseconds{1} << 50;
    constexpr Nanoseconds kInstead = 100 * kMillisecond;
    const Nanoseconds now = arch::now();
    timer.set(deadline < 0 || deadline - now >= kFarOff ? now + kInstead : deadline);
    return {};
}

}  // namespace hv
