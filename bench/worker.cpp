#include "worker.hpp"

#include "platform.hpp"

namespace guest {
namespace {

[[gnu::always_inline]] inline bool operate(Work& work) {
    if (work.cleared)
        asm volatile("lock btr %1, %0" : "+m"(*work.cleared) : "r"(work.bit) : "memory");
    for (unsigned i = 0; i < work.count; ++i) {
        const Work::Call& call = work.calls[i];
        const long result =
            hypercall(call.number, call.args[0], call.args[1], call.args[2], call.args[3]);
        if (result != call.expected) {
            work.wrong = result;
            return false;
        }
        if (i == 0 && work.handle) *work.next_handle = *work.handle;
    }
    for (const volatile int16_t* status : work.status)
        if (status && *status) {
            work.wrong = *status;
            return false;
        }
    return true;
}

[[gnu::always_inline]] inline void run(Work& work) {
    while (rdtsc() < work.start) asm volatile("pause");
    for (;;) {
        for (unsigned i = 0; i < work.batch; ++i)
            if (!operate(work)) {
                work.failed = true;
                return;
            }
        const uint64_t window = (rdtsc() - work.start) / work.window;
        if (window >= kWindows) return;
        work.done[window] = work.done[window] + work.batch;
    }
}

}  // namespace

void work_once(Work& work) {
    run(work);
}

[[gnu::aligned(kPageSize)]] void work_for_ever(uint64_t, Work* work) {
    for (;;) {
        while (work->ordered == work->finished) hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield);
        run(*work);
        work->finished = work->ordered;
    }
}

}  // namespace guest
