// The scheduler's core: CPUs, vCPUs, and the choice of what runs next.
#include "hv/sched/sched.hpp"

#include <cstdint>

#include <xen/domctl.h>
#include <xen/sysctl.h>

#include "boot/options.hpp"
#include "hv/console/log.hpp"
#include "hv/memory/heap.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {

constinit PerCpu<RunQueue> queues;
constinit const Policy* policy = &kCreditPolicy;
constinit AtomicCpuMask idle_cpus;
constinit AtomicCpuMask known_cpus;

namespace {

constinit Domain* idle_domain = nullptr;

constexpr const Policy* kPolicies[] = {&kCreditPolicy};

/// What the previous vCPU's state is called from now on.
int state_after_running(const Vcpu& vcpu) {
    if (vcpu.pause_flags.load() & pause::kBlocked) return RUNSTATE_blocked;
    return vcpu.runnable() ? RUNSTATE_runnable : RUNSTATE_offline;
}

/// Asks the policy, and other CPUs if it wants to know what waits there. Under the queue's lock,
/// which is dropped meanwhile.
Choice choose(RunQueue& queue, Vcpu& prev) XEN_TSA(requires_capability(queue.lock)) {
    const auto ask = [&](bool may_look) {
        Unit* unit = &prev == queue.idle ? nullptr : unit_of(prev);
        const bool may_stay = unit && prev.runnable() && !should_leave(prev, queue.cpu);
        return policy->choose(queue, unit, may_stay, arch::now(), may_look);
    };
    Choice choice = ask(true);
    if (!choice.look_elsewhere) return choice;
    // Before the others' queues are read, not after: see tickle().
    if (choice.above == INT64_MIN) idle_cpus.set(queue.cpu);
    queue.lock.unlock();
    steal(queue.cpu, choice.above);
    queue.lock.lock();
    return ask(false);
}

/// Softirq::kSchedule.
void schedule() {
    Vcpu& prev = arch::current();
    RunQueue& queue = queue_of(arch::this_cpu());
    queue.lock.lock();
    const Choice choice = choose(queue, prev);
    Vcpu& next = choice.next ? choice.next->vcpu : *queue.idle;
    if (choice.next) {
        idle_cpus.clear(queue.cpu);
        queue.slice.set(arch::now() + choice.slice);
        offer_waiting(queue);
    } else {
        queue.slice.stop();
    }
    if (&next == &prev) {
        queue.lock.unlock();
        return;
    }
    const Nanoseconds now = arch::now();
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

void init(std::string_view name) {
    const Policy* found = nullptr;
    for (const Policy* p : kPolicies)
        if (p->name == name) found = p;
    if (!found) {
        log(LogLevel::kWarning, "sched={}: no such scheduler here, {} is used", name, policy->name);
        found = policy;
    }
    policy = found;
    policy->init(static_cast<Nanoseconds>(boot::options().sched_slice_ms) * kMillisecond);
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
    queue.slice.init([](void*) { raise_softirq(Softirq::kSchedule); }, nullptr, cpu);
    queue.idle = queue.current = idle;
    known_cpus.set(cpu);
    idle_cpus.set(cpu);
    return {};
}

Vcpu& idle_vcpu(CpuId cpu) {
    return *queue_of(cpu).idle;
}

Result<> init_domain(Domain& domain) {
    if (domain.sched_data) return {};
    auto* data = heap::create<DomainData>();
    if (!data) return Errno::kENOMEM;
    auto settings = policy->create_domain();
    if (!settings) {
        heap::destroy(data);
        return settings.error();
    }
    data->settings = *settings;
    domain.sched_data = data;
    return {};
}

void destroy_domain(Domain& domain) {
    if (!domain.sched_data) return;
    stop_watchdogs(domain);
    DomainData* data = &data_of(domain);
    domain.sched_data = nullptr;
    policy->destroy_domain(data->settings);
    heap::destroy(data);
}

Result<> add_vcpu(Vcpu& vcpu) {
    TRY(init_domain(*vcpu.domain));
    vcpu.sched_data = TRY(policy->create_unit(vcpu, data_of(*vcpu.domain).settings));
    const CpuId cpu = pick_cpu(vcpu);
    vcpu.cpu.store(cpu);
    queue_of(cpu).assigned.fetch_add(1);
    vcpu.runstate.state = RUNSTATE_offline;
    vcpu.runstate.state_entry_time = static_cast<uint64_t>(arch::now());
    init_timers(vcpu);
    return {};
}

void remove_vcpu(Vcpu& vcpu) {
    if (!vcpu.sched_data) return;
    kill_timers(vcpu);
    Unit* unit = unit_of(vcpu);
    {
        QueueLock queue(vcpu);
        invariant(queue->current != &vcpu && !vcpu.is_running.load(), "a removed vCPU runs");
        policy->sleep(*queue, *unit);
        queue->assigned.fetch_sub(1);
        vcpu.sched_data = nullptr;
    }
    policy->destroy_unit(*unit);
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
    if (!domain.sched_data || op.sched_id != policy->id) return Errno::kEINVAL;
    return policy->domain_control(domain, data_of(domain).settings, op);
}
Result<> system_control(xen_sysctl_scheduler_op& op) {
    if (op.sched_id != policy->id) return Errno::kEINVAL;
    return policy->system_control(op);
}
uint32_t policy_id() {
    return policy->id;
}

}  // namespace hv::sched
