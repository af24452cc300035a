// What a CPU does that has nothing to do.
#include "hv/memory/allocator.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {

void idle_loop() {
    for (;;) {
        process_softirqs();  // may leave for a vCPU
        if (softirq_pending() || memory::scrub_some()) continue;
        arch::wait_for_interrupt(softirq_pending);
    }
}

}  // namespace hv::sched
