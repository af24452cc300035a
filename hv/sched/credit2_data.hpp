// What the credit2 policy keeps for each pool, domain and vCPU.
#pragma once

#include "hv/sched/cap.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched::credit2 {

inline constexpr uint32_t kDefaultWeight = 256;

/// Running for `time` ns, for a vCPU of that weight. The factor keeps some digits for the heaviest
/// weight, 65535, and for the lightest one 64 bits last nine years.
constexpr Nanoseconds virtual_time(Nanoseconds time, uint32_t weight) {
    return time * 32 / static_cast<Nanoseconds>(weight);
}

/// Of a pool.
struct State {
    std::atomic<Nanoseconds> rate_limit{kMillisecond};  ///< nobody is preempted before
    std::atomic<Nanoseconds> clock{0};                  ///< virtual; never goes back
};

/// Of a domain. Written by control operations, read by each CPU without a lock.
struct Settings {
    std::atomic<uint16_t> weight{kDefaultWeight};
    Cap cap;
    std::atomic<uint32_t> active{0};  ///< vCPUs that want to run
};

struct Credit2Unit : Unit {
    Credit2Unit(Vcpu& v, Pool& p, Settings& s)
        : Unit(v, p), state(*static_cast<State*>(p.state)), settings(s) {}
    State& state;
    Settings& settings;
    Nanoseconds reached = 0;     ///< its virtual time
    Nanoseconds charged_to = 0;  ///< while it runs: up to when that counts
    Nanoseconds started = 0;     ///< when it was last chosen, or given a new slice
    bool active = false;         ///< it wants to run
    bool boosted = false;        ///< goes before whoever runs, even within its slice
    bool yielded = false;
};

inline Credit2Unit& of(Unit& unit) {
    return static_cast<Credit2Unit&>(unit);
}

// credit2_control.cpp
Result<void*> create_pool(Nanoseconds slice);
void destroy_pool(void* state);
Result<void*> create_domain(Pool& pool);
void destroy_domain(void* settings);
Result<Unit*> create_unit(Vcpu& vcpu, Pool& pool, void* settings);
void destroy_unit(Unit& unit);
Result<> domain_control(Domain& domain, void* settings, xen_domctl_scheduler_op& op);
Result<> system_control(void* state, xen_sysctl_scheduler_op& op);

}  // namespace hv::sched::credit2
