#include "hv/sched/pool.hpp"

#include "boot/options.hpp"
#include "hv/console/log.hpp"
#include "hv/memory/heap.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {

constinit Pool pool0;

namespace {

constexpr size_t kMaxPools = 2 * kMaxCpus;

constinit std::atomic<Pool*> pools[kMaxPools];

/// The CPU that is on its way out of a pool; under the lock of control operations.
struct {
    Pool* pool = nullptr;
    CpuId cpu = 0;
} leaving;

size_t count_pools() {
    size_t count = 0;
    for (auto& slot : pools) count += slot.load() != nullptr;
    return count;
}

std::atomic<Pool*>* free_slot() {
    for (auto& slot : pools)
        if (!slot.load()) return &slot;
    return nullptr;
}

/// The number after the highest one, or if there is none, the first that is free.
uint32_t new_id() {
    uint32_t highest = 0;
    for (auto& slot : pools)
        if (const Pool* pool = slot.load()) highest = std::max(highest, pool->id);
    if (highest + 1 != kAnyPool) return highest + 1;
    uint32_t id = 1;
    while (find_pool(id)) ++id;
    return id;
}

Result<> start(Pool& pool, uint32_t id, const Policy& policy) {
    pool.id = id;
    pool.rcu.pool = &pool;
    pool.policy = &policy;
    pool.state = TRY(policy.create_pool(static_cast<Nanoseconds>(boot::options().sched_slice_ms) *
                                        kMillisecond));
    return {};
}

void free_pool(RcuHead* head) {
    Pool* pool = static_cast<Pool::Rcu*>(head)->pool;
    pool->policy->destroy_pool(pool->state);
    heap::destroy(pool);
}

/// The last CPU may leave when only dying domains are left. They may stay zombies for long, so they
/// go to pool 0, which is never destroyed.
Result<> move_dying(Pool& pool) {
    Result<> moved;
    for_each_domain(pool, [&](Domain& domain) {
        if (!moved) return;
        if (domain.dying.load() == Dying::kAlive)
            moved = Errno::kEBUSY;
        else
            moved = move_domain(domain, pool0.id);
    });
    return moved;
}

Result<> begin_leaving(Pool& pool, CpuId cpu) {
    if (leaving.pool || !pool.cpus.test(cpu)) return Errno::kEADDRNOTAVAIL;
    if (pool.cpus.snapshot() == CpuMask::single(cpu)) TRY(move_dying(pool));
    leaving.pool = &pool;
    leaving.cpu = cpu;
    pool.cpus.clear(cpu);
    return {};
}

/// False if SCHEDOP_pin_override leaves the vCPU no CPU of the pool; another one that could run
/// nowhere may run everywhere from now on.
bool take_away(Vcpu& vcpu) {
    {
        QueueLock queue(vcpu);
        Unit& unit = *unit_of(vcpu);
        set_allowed(unit);
        if (unit.allowed.empty()) {
            if (vcpu.pin_overridden) return false;
            log(LogLevel::kInfo, "d{}v{}: no CPU of its hard affinity is left in pool {}",
                vcpu.domain->id, vcpu.id, unit.pool.id);
            vcpu.hard_affinity = CpuMask::all();
            set_allowed(unit);
        }
    }
    follow_affinity(vcpu);
    return true;
}

/// One try to get everybody off the CPU that leaves; true: somebody is still there.
Result<bool> empty_leaving() {
    bool pinned = false, stays = false;
    for_each_domain(*leaving.pool, [&](Domain& domain) {
        for_each_vcpu(domain, [&](Vcpu& vcpu) {
            if (!take_away(vcpu)) pinned = true;
            if (vcpu.cpu.load() == leaving.cpu) stays = true;
        });
    });
    if (pinned) return Errno::kEADDRINUSE;
    if (stays) return true;

    QueueLock queue(queue_of(leaving.cpu));
    if (queue->current != queue->idle || !queue->waiting.empty()) return true;
    queue->pool = nullptr;
    idle_cpus.clear(leaving.cpu);
    leaving.pool = nullptr;
    return false;
}

bool exists(uint32_t cpu) {
    return cpu < kMaxCpus && queue_of(cpu).idle;
}

}  // namespace

Pool* find_pool(uint32_t id) {
    Pool* found = find_pool_from(id);
    return found && found->id == id ? found : nullptr;
}

Pool* find_pool_from(uint32_t id) {
    Pool* found = nullptr;
    for (auto& slot : pools) {
        Pool* pool = slot.load(std::memory_order_acquire);
        if (pool && pool->id >= id && (!found || pool->id < found->id)) found = pool;
    }
    return found;
}

Pool& pool_of(const Domain& domain) {
    return *data_of(domain).pool;
}

CpuMask free_cpus() {
    CpuMask free;
    for (CpuId cpu = 0; cpu < kMaxCpus; ++cpu)
        if (exists(cpu) && !queue_of(cpu).pool) free.set(cpu);
    return free;
}

void init_pools(const Policy& policy) {
    if (!start(pool0, 0, policy)) panic("no memory for the pool of CPUs");
    pools[0].store(&pool0);
}

void give_cpu(Pool& pool, CpuId cpu) {
    {
        QueueLock queue(queue_of(cpu));
        queue->pool = &pool;
        queue->looked_elsewhere = queue->virtual_now = 0;
    }
    pool.cpus.set(cpu);
    for_each_domain(pool, [](Domain& domain) {
        for_each_vcpu(domain, [](Vcpu& vcpu) {
            QueueLock queue(vcpu);
            set_allowed(*unit_of(vcpu));
        });
    });
    raise_softirq_on(cpu, Softirq::kSchedule);  // it looks for those who wait elsewhere
}

Result<Pool*> create_pool(uint32_t id, uint32_t policy_id) {
    std::atomic<Pool*>* slot = free_slot();
    if (!slot || count_pools() >= 2 * arch::online_cpus().count()) return Errno::kENOSPC;
    if (id == kAnyPool)
        id = new_id();
    else if (find_pool(id))
        return Errno::kEEXIST;
    const Policy* policy = find_policy(policy_id);
    if (!policy) return Errno::kENOENT;
    heap::Owned<Pool> pool(heap::create<Pool>());
    if (!pool) return Errno::kENOMEM;
    TRY(start(*pool, id, *policy));
    slot->store(pool.get(), std::memory_order_release);
    return pool.release();
}

Result<> destroy_pool(uint32_t id) {
    Pool* pool = find_pool(id);
    if (!pool) return Errno::kENOENT;
    if (pool->domains.load() || !pool->cpus.empty() || leaving.pool == pool) return Errno::kEBUSY;
    for (auto& slot : pools)
        if (slot.load() == pool) slot.store(nullptr);
    call_rcu(pool->rcu, free_pool);
    return {};
}

Result<> add_cpu(uint32_t id, uint32_t cpu) {
    Pool* pool = find_pool(id);
    if (!pool) return Errno::kENOENT;
    if (cpu == kAnyCpu) {
        const size_t first = free_cpus().first();
        if (first == CpuMask::kNone) return Errno::kENODEV;
        cpu = static_cast<uint32_t>(first);
    }
    if (!exists(cpu)) return Errno::kEINVAL;
    if (leaving.pool && leaving.cpu == cpu) {
        if (leaving.pool != pool) return Errno::kEADDRNOTAVAIL;
        leaving.pool = nullptr;  // back to where it has not left yet
    } else if (queue_of(cpu).pool) {
        return Errno::kENODEV;
    }
    give_cpu(*pool, cpu);
    return {};
}

Result<bool> remove_cpu(uint32_t id, uint32_t cpu) {
    Pool* pool = find_pool(id);
    if (!pool) return Errno::kENOENT;
    if (cpu == kAnyCpu) {
        const uint64_t cpus = pool->cpus.snapshot().word(0);
        cpu = leaving.pool == pool ? leaving.cpu
                                   : static_cast<uint32_t>(std::bit_width(cpus)) - 1;  // none: -1
    }
    if (!exists(cpu) || (pool == &pool0 && cpu == 0)) return Errno::kEINVAL;
    if (leaving.pool != pool || leaving.cpu != cpu) TRY(begin_leaving(*pool, cpu));
    return empty_leaving();
}

}  // namespace hv::sched
