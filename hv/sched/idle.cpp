// What a CPU does that has nothing to do.
#include "hv/sched/idle.hpp"

#include <atomic>

#include "arch/time.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {

namespace {

struct Counts {
    std::atomic<uint64_t> count{0}, time{0};  // written by their CPU only
};
PerCpu<Counts> counts;

void add(std::atomic<uint64_t>& counter, uint64_t more) {
    counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

void sleep() {
    Counts& mine = counts.on(arch::this_cpu());
    const Nanoseconds begin = arch::now();
    arch::wait_for_interrupt(softirq_pending);
    add(mine.count, 1);
    add(mine.time, static_cast<uint64_t>(arch::now() - begin));
}

}  // namespace

Sleeps sleeps_of(CpuId cpu) {
    const Counts& of = counts.on(cpu);
    return {of.count.load(std::memory_order_relaxed), of.time.load(std::memory_order_relaxed)};
}

void idle_loop() {
    for (;;) {
        process_softirqs();  // may leave for a vCPU
        if (memory::scrub_some())
            arch::poll_interrupts();  // or nothing would get in until all is scrubbed
        else
            sleep();
    }
}

}  // namespace hv::sched
