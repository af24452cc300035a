#include "hv/hypercall/traced.hpp"

#include <utility>

#include "arch/cpu.hpp"
#include "hv/console/trace.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/table.hpp"

namespace hv {
namespace {

struct Arguments {
    uint64_t value[5];
};

/// Which arguments go into the record, as bits: commands and counts.
constexpr unsigned arguments_of(unsigned number) {
    switch (number) {
        case __HYPERVISOR_sched_op:
            return 0b001;
        case __HYPERVISOR_mmu_update:
        case __HYPERVISOR_multicall:
        case __HYPERVISOR_mmuext_op:
            return 0b010;
        case __HYPERVISOR_vcpu_op:
            return 0b011;
        case __HYPERVISOR_grant_table_op:
            return 0b101;
    }
    return 0;
}

void note(uint32_t number, const Arguments& arguments) {
    uint32_t words[4] = {number};
    size_t count = 1;
    for (unsigned i = 0, wanted = arguments_of(number); wanted >> i; ++i) {
        if (!((wanted >> i) & 1)) continue;
        words[0] |= TRC_PV_HYPERCALL_V2_ARG_32(i);
        words[count++] = trace::low(arguments.value[i]);
    }
    const bool within = arch::current().in_multicall;
    trace::write(within ? TRC_PV_HYPERCALL_SUBCALL : TRC_PV_HYPERCALL_V2, {words, count});
}

template <unsigned Number>
Outcome traced(uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5) {
    if (trace::is_on()) note(Number, {{a1, a2, a3, a4, a5}});
    return hypercall_table.handler[Number](a1, a2, a3, a4, a5);
}

template <size_t... Number>
constexpr HypercallTable with_records(std::index_sequence<Number...>) {
    return {{traced<Number>...}};
}
constexpr HypercallTable kTraced = with_records(std::make_index_sequence<kHypercalls>{});

}  // namespace

void trace_hypercalls(bool on) {
    hypercalls_in_use.store(on ? &kTraced : &hypercall_table, std::memory_order_relaxed);
}

}  // namespace hv
