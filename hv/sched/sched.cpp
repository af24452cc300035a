// The scheduler's core: CPUs, vCPUs, and the choice of what runs next.
#include "hv/sched/sched.hpp"

#include <cstdint>

#include <xen/domctl.h>
#include <xen/sysctl.h>

#include "hv/console/log.hpp"
#include "hv/console/trace.hpp"
#include "hv/memory/heap.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {

constinit PerCpu<RunQueue> queues;
constinit AtomicCpuMask idle_cpus;

namespace {

constinit Domain* idle_domain = nullptr;

constexpr const Policy* kPolicies[] = {&kCreditPolicy, &kCredit2Policy, &kNullPolicy};

/// What the previous vCPU's state is called from now on.
int state_after_running(const Vcpu& vcpu) {
    if (vcpu.pause_flags.load() & pause::kBlocked) return RUNSTATE_blocked;
    return vcpu.runnable() ? RUNSTATE_runnable : RUNSTATE_offline;
}

/// Asks the policy, and other CPUs if it wants to know what waits there: then `now` has moved on.
/// Under the queue's lock, which is dropped meanwhile.
Choice choose(RunQueue& queue, Vcpu& prev, Nanoseconds& now)
    XEN_TSA(requires_capability(queue.lock)) {
    const auto ask = [&](bool may_look) -> Choice {
        if (!queue.pool) return {};
        Unit* unit = &prev == queue.idle ? nullptr : unit_of(prev);
        const bool may_stay = unit && prev.runnable() && !should_leave(*unit, queue.cpu);
        return queue.pool->policy->choose(queue, unit, may_stay, now, may_look);
    };
    Choice choice = ask(true);
    if (!choice.look_elsewhere) return choice;
    // Before the others' queues are read, not after: see tickle().
    if (choice.above == INT64_MIN) idle_cpus.set(queue.cpu);
    Pool& pool = *queue.pool;
    queue.lock.unlock();
    steal(pool, queue.cpu, choice.above);
    queue.lock.lock();
    now = arch::now();
    return ask(false);
}

/// Most slices are cut short and a later one begins: the timer stays armed for the earlier end, and
/// slice_timer() looks then.
void set_slice(RunQueue& queue, Nanoseconds end) {
    queue.slice_end = end;
    if (!queue.slice.active() || end < queue.slice.deadline()) queue.slice.set(end);
}

/// Both on the queue's own CPU only, so there is nothing to lock.
void slice_timer(void* data) {
    RunQueue& queue = *static_cast<RunQueue*>(data);
    if (arch::now() < queue.slice_end)
        queue.slice.set(queue.slice_end);
    else
        raise_softirq(Softirq::kSchedule);
}

void trace_switch(const Vcpu& prev, const Vcpu& next, Nanoseconds now) {
    if (!trace::is_on()) [[likely]]
        return;
    const auto since = [&](const Vcpu& vcpu) {
        return static_cast<uint64_t>(now) - vcpu.runstate.state_entry_time;
    };
    trace::event(TRC_SCHED_SWITCH_INFPREV, prev.domain->id.raw(), prev.id.raw(), since(prev));
    trace::event(TRC_SCHED_SWITCH_INFNEXT, next.domain->id.raw(), next.id.raw(),
                 next.runstate.state == RUNSTATE_runnable ? since(next) : 0, 0);
    trace::event(TRC_SCHED_SWITCH, prev.domain->id.raw(), prev.id.raw(), next.domain->id.raw(),
                 next.id.raw());
}

/// Softirq::kSchedule.
void schedule() {
    Vcpu& prev = arch::current();
    RunQueue& queue = queue_of(arch::this_cpu());
    queue.lock.lock();
    Nanoseconds now = arch::now();  // once: where one vCPU's time ends the next one's begins
    const Choice choice = choose(queue, prev, now);
    Vcpu& next = choice.next ? choice.next->vcpu : *queue.idle;
    if (choice.next) idle_cpus.clear(queue.cpu);
    if (choice.next || choice.slice)
        set_slice(queue, now + choice.slice);
    else
        queue.slice.stop();
    if (choice.next) offer_waiting(queue);
    if (&next == &prev) {
        trace::event(TRC_SCHED_CONTINUE_RUNNING,
                     next.id.raw() | uint32_t{next.domain->id.raw()} << 16);
        queue.lock.unlock();
        return;
    }
    trace_switch(prev, next, now);
    change_runstate(prev, state_after_running(prev), now);
    change_runstate(next, RUNSTATE_running, now);
    next.is_running.store(true);
    queue.current = &next;
    queue.lock.unlock();

    if (&prev != queue.idle) {
        timers_switched_out(prev);
        update_guest_runstate(prev);  // its page tables are still loaded
    }
    arch::context_switch(prev, next);  // may not return
}

}  // namespace

const Policy* find_policy(std::string_view name) {
    for (const Policy* p : kPolicies)
        if (p->name == name) return p;
    return nullptr;
}
const Policy* find_policy(uint32_t id) {
    for (const Policy* p : kPolicies)
        if (p->id == id) return p;
    return nullptr;
}

void init(std::string_view name) {
    const Policy* policy = find_policy(name);
    if (!policy) {
        policy = &kCreditPolicy;
        log(LogLevel::kWarning, "sched={}: no such scheduler here, {} is used", name, policy->name);
    }
    init_pools(*policy);
    set_softirq_handler(Softirq::kSchedule, schedule);

    idle_domain = heap::create<Domain>();
    if (!idle_domain) panic("no memory for the idle domain");
    idle_domain->id = DomId{DOMID_IDLE};
    auto vcpus = heap::OwnedArray<Vcpu*>::create(kMaxCpus);
    if (!vcpus) panic("no memory for the idle domain's vCPUs");
    idle_domain->vcpus = static_cast<decltype(vcpus)&&>(vcpus).value();
    idle_domain->max_vcpus = kMaxCpus;
}

Result<> cpu_up(CpuId cpu) {
    auto* idle = heap::create<Vcpu>(*idle_domain, VcpuId{cpu});
    if (!idle) return Errno::kENOMEM;
    idle_domain->vcpus[cpu] = idle;
    idle->cpu.store(cpu);
    idle->pause_flags.store(0);
    idle->hard_affinity = idle->soft_affinity = CpuMask::single(cpu);
    idle->is_running.store(true);
    idle->initialised = true;
    idle->runstate.state = RUNSTATE_running;
    idle->runstate.state_entry_time = static_cast<uint64_t>(arch::now());

    RunQueue& queue = queue_of(cpu);
    queue.cpu = cpu;
    queue.slice.init(slice_timer, &queue, cpu);
    queue.idle = queue.current = idle;
    idle_cpus.set(cpu);
    give_cpu(pool0, cpu);
    return {};
}

Vcpu& idle_vcpu(CpuId cpu) {
    return *queue_of(cpu).idle;
}

Result<> init_domain(Domain& domain) {
    if (domain.sched_data) return {};
    Pool* pool = find_pool(domain.config.cpupool_id);
    if (!pool) return Errno::kESRCH;
    if (pool->cpus.empty()) return Errno::kENODEV;
    auto* data = heap::create<DomainData>();
    if (!data) return Errno::kENOMEM;
    auto settings = pool->policy->create_domain(*pool);
    if (!settings) {
        heap::destroy(data);
        return settings.error();
    }
    data->pool = pool;
    data->settings = *settings;
    pool->domains.fetch_add(1);
    domain.sched_data = data;
    trace::event(TRC_SCHED_DOM_ADD, domain.id.raw());
    return {};
}

void destroy_domain(Domain& domain) {
    if (!domain.sched_data) return;
    stop_watchdogs(domain);
    trace::event(TRC_SCHED_DOM_REM, domain.id.raw());
    DomainData* data = &data_of(domain);
    domain.sched_data = nullptr;
    data->pool->policy->destroy_domain(data->settings);
    data->pool->domains.fetch_sub(1);  // last: the pool may be destroyed from here on
    heap::destroy(data);
}

Result<> add_vcpu(Vcpu& vcpu) {
    TRY(init_domain(*vcpu.domain));
    const DomainData& data = data_of(*vcpu.domain);
    Unit* unit = TRY(data.pool->policy->create_unit(vcpu, *data.pool, data.settings));
    set_allowed(*unit);
    const CpuId cpu = pick_cpu(*unit);
    vcpu.cpu.store(cpu);
    queue_of(cpu).assigned.fetch_add(1);
    vcpu.runstate.state = RUNSTATE_offline;
    vcpu.runstate.state_entry_time = static_cast<uint64_t>(arch::now());
    init_timers(vcpu);
    vcpu.sched_data = unit;
    return {};
}

void remove_vcpu(Vcpu& vcpu) {
    if (!vcpu.sched_data) return;
    kill_timers(vcpu);
    Unit* unit = unit_of(vcpu);
    const Policy& policy = *unit->pool.policy;
    {
        QueueLock queue(vcpu);
        invariant(queue->current != &vcpu && !vcpu.is_running.load(), "a removed vCPU runs");
        policy.sleep(*queue, *unit);
        queue->assigned.fetch_sub(1);
        vcpu.sched_data = nullptr;
    }
    policy.destroy_unit(*unit);
}

void context_saved(Vcpu& prev) {
    prev.is_running.store(false);
    Vcpu& next = arch::current();
    RunQueue& queue = queue_of(arch::this_cpu());
    if (&prev != queue.idle && prev.runnable()) {
        // It could not be taken by another CPU until now.
        bool waits = false;
        {
            QueueLock lock(prev);
            waits = unit_of(prev)->linked();
            if (waits) tickle(*lock, *unit_of(prev), false);
        }
        if (!waits) place(prev);
    }
    if (&next == queue.idle) return;
    timers_switched_in(next);
    update_guest_copies();
}

Result<> domain_control(Domain& domain, xen_domctl_scheduler_op& op) {
    if (!domain.sched_data) return Errno::kEINVAL;
    const Policy& policy = *pool_of(domain).policy;
    if (op.sched_id != policy.id || op.cmd > XEN_DOMCTL_SCHEDOP_getvcpuinfo) return Errno::kEINVAL;
    if (!policy.domain_control) return {};
    TRY(policy.domain_control(domain, data_of(domain).settings, op));
    trace::event(TRC_SCHED_ADJDOM, domain.id.raw());
    if (op.cmd != XEN_DOMCTL_SCHEDOP_putinfo) return {};
    // A lower cap is to stop it now, a higher one to let it go on.
    for_each_vcpu(domain, [](Vcpu& vcpu) {
        raise_softirq_on(vcpu.cpu.load(std::memory_order_relaxed), Softirq::kSchedule);
    });
    return {};
}

Result<> system_control(xen_sysctl_scheduler_op& op) {
    if (op.cmd != XEN_SYSCTL_SCHEDOP_putinfo && op.cmd != XEN_SYSCTL_SCHEDOP_getinfo)
        return Errno::kEINVAL;
    Pool* pool = find_pool(op.cpupool_id);
    if (!pool) return Errno::kESRCH;
    if (op.sched_id != pool->policy->id) return Errno::kEINVAL;
    if (!pool->policy->system_control) return {};
    return pool->policy->system_control(pool->state, op);
}

uint32_t policy_id() {
    return pool0.policy->id;
}

}  // namespace hv::sched
