#include "hv/hypercall/counters.hpp"

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"

namespace hv::counters {

namespace {

constexpr unsigned kRemembered = 32;

struct Entry {
    DomId domain;
    VcpuId vcpu;
    Call call;
};

/// Written by its CPU only; others read counts that may be a moment old.
struct OnCpu {
    uint64_t calls[kHypercallNumbers];
    Entry last[kRemembered];
    unsigned noted;  ///< how many were ever put into `last`, round and round
};
PerCpu<OnCpu> on_cpu;

}  // namespace

void note_hypercall(const Vcpu& vcpu, uint64_t number, uint64_t first_argument) {
    OnCpu& mine = on_cpu.on(arch::this_cpu());
    if (number < kHypercallNumbers) ++mine.calls[number];
    mine.last[mine.noted++ % kRemembered] = {vcpu.domain->id, vcpu.id, {number, first_argument}};
}

uint64_t calls(unsigned number) {
    uint64_t sum = 0;
    if (number >= kHypercallNumbers) return 0;
    arch::online_cpus().for_each([&](size_t cpu) {
        sum += __atomic_load_n(&on_cpu.on(static_cast<CpuId>(cpu)).calls[number], __ATOMIC_RELAXED);
    });
    return sum;
}

void reset() {
    arch::online_cpus().for_each([](size_t cpu) {
        for (uint64_t& count : on_cpu.on(static_cast<CpuId>(cpu)).calls)
            __atomic_store_n(&count, 0, __ATOMIC_RELAXED);
    });
}

bool last_call(const Vcpu& vcpu, unsigned back, Call& call) {
    const OnCpu& mine = on_cpu.on(arch::this_cpu());
    for (unsigned i = 1; i <= kRemembered && i <= mine.noted; ++i) {
        const Entry& entry = mine.last[(mine.noted - i) % kRemembered];
        if (entry.domain != vcpu.domain->id || entry.vcpu != vcpu.id || back-- > 0) continue;
        call = entry.call;
        return true;
    }
    return false;
}

}  // namespace hv::counters
