// Tracing: what each CPU does, as records in buffers that tools in Domain 0 map and read
// (`xentrace`, `xenalyze`; XEN_SYSCTL_tbuf_op; events, their classes and the buffers' format are in
// <xen/trace.h>). Off, an event costs a load and a branch that is never taken; a hypercall costs
// nothing, as the entry code then calls by a table without notes (hv/hypercall/traced.cpp).
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include <xen/xen.h>

#include <xen/trace.h>

#include "arch/cold_call.hpp"
#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::trace {

extern std::atomic<bool> active;

inline bool is_on() {
    return active.load(std::memory_order_relaxed);
}

/// Writes a record of `event` with up to seven words into this CPU's buffer, if the masks let it
/// pass. When the reader is too slow, records are counted as lost, and that is told later.
void write(uint32_t event, std::span<const uint32_t> words);

template <class... Words>
[[gnu::noinline, gnu::cold]] ARCH_KEEPS_REGISTERS void write_words(uint32_t event, Words... words) {
    const uint32_t list[sizeof...(words) + 1] = {words...};
    write(event, {list, sizeof...(words)});
}

/// The usual way: `trace::event(TRC_SCHED_BLOCK, domain, vcpu)`.
template <class... Words>
[[gnu::always_inline]] inline void event(uint32_t id, Words... words) {
    static_assert(sizeof...(words) <= 7);
    if (is_on()) [[unlikely]]
        write_words(id, static_cast<uint32_t>(words)...);
}
constexpr uint32_t low(uint64_t value) {
    return static_cast<uint32_t>(value);
}
constexpr uint32_t high(uint64_t value) {
    return static_cast<uint32_t>(value >> 32);
}

// What XEN_SYSCTL_tbuf_op does; under the control lock.

/// Makes buffers of `pages` for each online CPU and begins to trace. Once for good: kEBUSY when
/// they are there already in this size, kEINVAL in another size or if `pages` is 0; kENOMEM.
Result<> set_size(uint32_t pages);
/// kEINVAL before set_size().
Result<> start();
void stop();
void set_cpus(const CpuMask& cpus);
void set_events(uint32_t mask);
uint32_t events();
/// Where the pages that describe the buffers (struct t_info) are; bytes is 0 before set_size().
struct Info {
    uint64_t mfn;
    uint32_t bytes;
};
Info info();

}  // namespace hv::trace
