// Waking, sleeping and pausing. Whoever changes what Vcpu::runnable() looks at does so first and
// then calls wake() or sleep_*(), which look at it under the queue's lock: whatever the order in
// which two such calls get the lock, the last one sees the final state.
#include "hv/console/trace.hpp"
#include "hv/event/event.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {
void wake(Vcpu& vcpu) {
    if (!vcpu.sched_data) return;
    if (vcpu.pause_flags.load() & pause::kBlocked) {
        if (vcpu.poll_port.load(std::memory_order_relaxed)) {
            event::clear_poll(vcpu);
            vcpu.poll_timer.stop();
        }
        vcpu.pause_flags.fetch_and(~pause::kBlocked);
    }
    trace::event(TRC_SCHED_WAKE, vcpu.domain->id.raw(), vcpu.id.raw());
    place(vcpu);
}

void sleep_nosync(Vcpu& vcpu) {
    if (!vcpu.sched_data) return;
    trace::event(TRC_SCHED_SLEEP, vcpu.domain->id.raw(), vcpu.id.raw());
    QueueLock queue(vcpu);
    if (vcpu.runnable()) return;
    if (queue->current == &vcpu) {
        raise_softirq_on(queue->cpu, Softirq::kSchedule);
        return;
    }
    Unit& unit = *unit_of(vcpu);
    unit.pool.policy->sleep(*queue, unit);
    if (vcpu.runstate.state == RUNSTATE_runnable)
        change_runstate(vcpu, RUNSTATE_offline, arch::now());
}

void sleep_sync(Vcpu& vcpu) {
    sleep_nosync(vcpu);
    if (&vcpu == &arch::current()) return;
    while (!vcpu.runnable() && vcpu.is_running.load()) base::spin_wait();
    arch::sync_vcpu_state(vcpu);
}

void vcpu_pause(Vcpu& vcpu) {
    vcpu.pause_count.fetch_add(1);
    sleep_sync(vcpu);
}

void vcpu_pause_nosync(Vcpu& vcpu) {
    vcpu.pause_count.fetch_add(1);
    sleep_nosync(vcpu);
}

void vcpu_unpause(Vcpu& vcpu) {
    if (vcpu.pause_count.fetch_sub(1) == 1 && vcpu.sched_data) place(vcpu);
}

void domain_pause(Domain& domain) {
    domain_pause_nosync(domain);  // all are told before the first is waited for
    for_each_vcpu(domain, sleep_sync);
}

void domain_pause_nosync(Domain& domain) {
    domain.pause_count.fetch_add(1);
    for_each_vcpu(domain, sleep_nosync);
}

void domain_unpause(Domain& domain) {
    if (domain.pause_count.fetch_sub(1) != 1) return;
    for_each_vcpu(domain, [](Vcpu& vcpu) {
        if (vcpu.sched_data) place(vcpu);
    });
}

namespace {

Result<> count_controller_pause(Domain& domain) {
    constexpr uint32_t kMost = 255;  // as Xen
    uint32_t count = domain.controller_pauses.load();
    do {
        if (count >= kMost) return Errno::kE2BIG;
    } while (!domain.controller_pauses.compare_exchange_weak(count, count + 1));
    return {};
}

}  // namespace

Result<> domain_pause_by_controller(Domain& domain) {
    TRY(count_controller_pause(domain));
    domain_pause(domain);
    return {};
}

Result<> domain_pause_by_controller_nosync(Domain& domain) {
    TRY(count_controller_pause(domain));
    domain_pause_nosync(domain);
    return {};
}

Result<> domain_unpause_by_controller(Domain& domain) {
    uint32_t count = domain.controller_pauses.load();
    do {
        if (count == 0) return Errno::kEINVAL;
    } while (!domain.controller_pauses.compare_exchange_weak(count, count - 1));
    // The first time it runs, what its builder may still change is settled.
    if (count == 1) domain.creation_finished = true;
    domain_unpause(domain);
    return {};
}

}  // namespace hv::sched
