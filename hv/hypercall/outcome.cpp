#include "hv/hypercall/outcome.hpp"

#include "arch/cpu.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/sched/softirq.hpp"

namespace hv {

Outcome continue_with(std::initializer_list<uint64_t> args) {
    Continuation& c = arch::current().continuation;
    c.count = 0;
    for (uint64_t arg : args)
        if (c.count < c.args.size()) c.args[c.count++] = arg;
    Outcome outcome;
    outcome.again = true;
    return outcome;
}

bool preempt_requested() {
    arch::poll_interrupts();
    return softirq_pending();
}

}  // namespace hv
