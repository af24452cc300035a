// Pools of CPUs: each has CPUs of its own, a policy of its own, and domains that run on these CPUs
// only. Pool 0 is there from the start, with all CPUs, and stays, as Domain 0 is in it. A CPU that
// no pool has is free; it idles.
//
// A CPU leaves its pool in two steps. First it is no longer among Pool::cpus, so every vCPU gets
// off it at its next pass through the scheduler; when the last has gone, RunQueue::pool is cleared.
// Whoever asked for it calls again until then: it may run on that CPU itself.
//
// Pools are found without a lock and freed by RCU. All that changes them is a control operation, of
// which there is one at a time.
#pragma once

#include <atomic>

#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/sched/rcu.hpp"

namespace hv {

struct Domain;

namespace sched {

struct Policy;

struct Pool {
    uint32_t id = 0;
    const Policy* policy = nullptr;
    void* state = nullptr;             ///< the policy's
    AtomicCpuMask cpus;                ///< without one that is about to leave
    std::atomic<uint32_t> domains{0};  ///< those that are in it, zombies included
    struct Rcu : RcuHead {
        Pool* pool = nullptr;
    } rcu;
};

inline constexpr uint32_t kAnyPool = UINT32_MAX;
inline constexpr uint32_t kAnyCpu = UINT32_MAX;

/// The pool of that number, or nullptr; the one with the lowest number from that one on.
Pool* find_pool(uint32_t id);
Pool* find_pool_from(uint32_t id);
Pool& pool_of(const Domain& domain);
/// CPUs that no pool has.
CpuMask free_cpus();

/// An empty pool; kAnyPool: with a number above all others'. kENOSPC: two for each CPU are there;
/// kEEXIST; kENOENT: no such policy; kENOMEM.
Result<Pool*> create_pool(uint32_t id, uint32_t policy_id);
/// kENOENT; kEBUSY: there are domains or CPUs in it, and so in pool 0 always.
Result<> destroy_pool(uint32_t id);
/// `cpu` or kAnyCpu, the first that is free. kENOENT: no such pool; kENODEV: none is free, or this
/// one is not; kEINVAL: no such CPU; kEADDRNOTAVAIL: it is leaving another pool.
Result<> add_cpu(uint32_t pool, uint32_t cpu);
/// `cpu` or kAnyCpu, the pool's last. False when it has gone, true: call again. kENOENT: no such
/// pool; kEINVAL: no such CPU, or the first one of pool 0; kEADDRNOTAVAIL: it is not in the pool,
/// or another one is leaving; kEBUSY: the last one of a pool with living domains; kEADDRINUSE:
/// SCHEDOP_pin_override pins a vCPU to it.
Result<bool> remove_cpu(uint32_t pool, uint32_t cpu);
/// Pauses `domain`, which is not the caller's, and lets it go on in that pool with the settings of
/// a new domain. kENOENT: no such pool, or one without CPUs; kEBUSY: a vCPU is pinned by
/// SCHEDOP_pin_override; kENOMEM.
Result<> move_domain(Domain& domain, uint32_t pool);

}  // namespace sched
}  // namespace hv
