// What the credit policy keeps for each pool, domain and vCPU.
#pragma once

#include "hv/sched/cap.hpp"
#include "hv/sched/core.hpp"
#include "hv/sched/credit.hpp"

namespace hv::sched::credit {

/// Of a pool.
struct State {
    std::atomic<Nanoseconds> slice{30 * kMillisecond};
    std::atomic<Nanoseconds> rate_limit{kMillisecond};  ///< nobody is preempted before
    std::atomic<uint32_t> migration_delay_us{0};        ///< recorded only
    std::atomic<uint64_t> total_weight{0};              ///< of all who want to run
    std::atomic<uint64_t> share_clock{0};

    Nanoseconds time_slice() const { return slice.load(std::memory_order_relaxed); }
    /// How far credit may be from 0, in both directions.
    Nanoseconds bound() const { return 4 * time_slice(); }
    /// Gives `time` to all who want to run.
    void distribute(Nanoseconds time) {
        const uint64_t weights = total_weight.load(std::memory_order_relaxed);
        if (weights && time > 0) share_clock.fetch_add(share_of(time, weights));
    }
};

/// Of a domain. Written by control operations, read by each CPU without a lock.
struct Settings {
    std::atomic<uint16_t> weight{kDefaultWeight};
    Cap cap;
    std::atomic<uint32_t> active{0};  ///< vCPUs that want to run
};

struct CreditUnit : Unit {
    CreditUnit(Vcpu& v, Pool& p, Settings& s)
        : Unit(v, p), state(*static_cast<State*>(p.state)), settings(s) {}
    State& state;
    Settings& settings;
    Account account;
    Nanoseconds charged_to = 0;   ///< while it runs: up to when that is paid for
    Nanoseconds started = 0;      ///< when it was last chosen, or given a new slice
    uint32_t counted_weight = 0;  ///< its part of total_weight; 0: it does not want to run
    bool boosted = false;         ///< goes before whoever runs, even within its slice
    bool yielded = false;
};

inline CreditUnit& of(Unit& unit) {
    return static_cast<CreditUnit&>(unit);
}

// credit_control.cpp
Result<void*> create_pool(Nanoseconds slice);
void destroy_pool(void* state);
Result<void*> create_domain(Pool& pool);
void destroy_domain(void* settings);
Result<Unit*> create_unit(Vcpu& vcpu, Pool& pool, void* settings);
void destroy_unit(Unit& unit);
Result<> domain_control(Domain& domain, void* settings, xen_domctl_scheduler_op& op);
Result<> system_control(void* state, xen_sysctl_scheduler_op& op);

}  // namespace hv::sched::credit
