#include "hv/sched/softirq.hpp"

#include <bit>

namespace hv {
namespace softirq_detail {
constinit PerCpu<std::atomic<uint32_t>> pending;
}
namespace {

constinit SoftirqHandler handlers[static_cast<size_t>(Softirq::kCount)] = {};

constexpr uint32_t bit_of(Softirq which) {
    return uint32_t{1} << static_cast<unsigned>(which);
}

}  // namespace

void set_softirq_handler(Softirq which, SoftirqHandler handler) {
    handlers[static_cast<size_t>(which)] = handler;
}

void raise_softirq(Softirq which) {
    softirq_detail::pending.on(arch::this_cpu()).fetch_or(bit_of(which));
}

void raise_softirq_on(CpuId cpu, Softirq which) {
    const uint32_t before = softirq_detail::pending.on(cpu).fetch_or(bit_of(which));
    // Whoever set the first bit has kicked the CPU already, and it has not looked since.
    if (before == 0 && cpu != arch::this_cpu()) arch::kick_cpu(cpu);
}

void process_softirqs() {
    // Bits are cleared one at a time, before their handler runs: what is raised meanwhile is done
    // in the next turn, and a handler that does not return here (kSchedule) loses nothing.
    auto& pending = softirq_detail::pending.on(arch::this_cpu());
    while (const uint32_t bits = pending.load(std::memory_order_acquire)) {
        const auto lowest = static_cast<unsigned>(std::countr_zero(bits));
        pending.fetch_and(~(uint32_t{1} << lowest));
        if (SoftirqHandler handler = handlers[lowest]) handler();
    }
}

}  // namespace hv
