// What a CPU does that has nothing to do.
#include "hv/memory/allocator.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {

void idle_loop() {
    for (;;) {
        process_softirqs();  // may leave for a vCPU
        if (memory::scrub_some())
            arch::poll_interrupts();  // or nothing would get in until all is scrubbed
        else
            arch::wait_for_interrupt(softirq_pending);
    }
}

}  // namespace hv::sched
