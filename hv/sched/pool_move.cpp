// A domain goes from one pool to another: its policy's data are made anew, while it stands still.
#include "hv/memory/heap.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace {

/// What a domain and its vCPUs are to a policy; it frees what it holds at the end. Made before
/// anything changes, then exchanged for the old.
struct Belongings {
    Pool* pool;
    void* settings = nullptr;
    heap::OwnedArray<Unit*> units;

    explicit Belongings(Pool& p) : pool(&p) { pool->domains.fetch_add(1); }
    Belongings(const Belongings&) = delete;
    Belongings& operator=(const Belongings&) = delete;
    ~Belongings() {
        for (size_t n = 0; n < units.size(); ++n)
            if (units[n]) pool->policy->destroy_unit(*units[n]);
        if (settings) pool->policy->destroy_domain(settings);
        pool->domains.fetch_sub(1);  // last: the pool may be destroyed from here on
    }
};

Result<> fill(Belongings& fresh, Domain& domain) {
    const Policy& policy = *fresh.pool->policy;
    fresh.settings = TRY(policy.create_domain(*fresh.pool));
    fresh.units = TRY(heap::OwnedArray<Unit*>::create(domain.max_vcpus));
    for (uint32_t n = 0; n < domain.max_vcpus; ++n)
        if (Vcpu* vcpu = domain.vcpus[n])
            fresh.units[n] = TRY(policy.create_unit(*vcpu, *fresh.pool, fresh.settings));
    return {};
}

/// Gives the paused vCPU that unit, a CPU of its pool, and takes its affinities away, which meant
/// CPUs of the old one. Returns the old unit.
Unit* exchange(Vcpu& vcpu, Unit& fresh) {
    QueueLock queue(vcpu);
    Unit* old = unit_of(vcpu);
    old->pool.policy->sleep(*queue, *old);
    vcpu.hard_affinity = vcpu.soft_affinity = CpuMask::all();
    vcpu.sched_data = &fresh;
    set_allowed(fresh);
    assign_cpu(vcpu, pick_cpu(fresh));
    return old;
}

bool pinned(Domain& domain) {
    bool any = false;
    for_each_vcpu(domain, [&](const Vcpu& vcpu) { any = any || vcpu.pin_overridden; });
    return any;
}

}  // namespace

Result<> move_domain(Domain& domain, uint32_t id) {
    DomainData& data = data_of(domain);
    if (id == data.pool->id) return {};
    Pool* to = find_pool(id);
    if (!to || to->cpus.empty()) return Errno::kENOENT;
    if (pinned(domain)) return Errno::kEBUSY;
    Belongings belongings(*to);
    TRY(fill(belongings, domain));

    domain_pause(domain);
    for (uint32_t n = 0; n < domain.max_vcpus; ++n)
        if (Vcpu* vcpu = domain.vcpus[n])
            belongings.units[n] = exchange(*vcpu, *belongings.units[n]);
    std::swap(data.settings, belongings.settings);
    std::swap(data.pool, belongings.pool);
    domain.config.cpupool_id = id;
    follow_nodes(domain);
    domain_unpause(domain);
    return {};
}

}  // namespace hv::sched
