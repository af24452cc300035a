// What a vCPU does to itself: SCHEDOP_block, _yield and _poll.
#include <cstdint>

#include <xen/sched.h>

#include "hv/console/trace.hpp"
#include "hv/event/event.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace {

constexpr unsigned kMaxPollPorts = 128;  // as Xen

void unblock(Vcpu& vcpu) {
    vcpu.pause_flags.fetch_and(~pause::kBlocked);
}

/// True if one of the ports is pending, so that there is nothing to wait for. kEINVAL, kEFAULT.
Result<bool> any_pending(Vcpu& vcpu, const GuestIn<evtchn_port_t>& ports, unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
        const Port port{TRY(ports.load(i))};
        if (!event::port_valid(*vcpu.domain, port)) return Errno::kEINVAL;
        if (event::port_pending(*vcpu.domain, port)) return true;
    }
    return false;
}

/// Apart from yield_current(), which mostly finds nobody and then needs no registers saved.
[[gnu::noinline]] void yield_to_waiting(RunQueue& queue) {
    {
        QueueLock lock(queue);
        queue.pool->policy->yield(*unit_of(arch::current()));
    }
    raise_softirq(Softirq::kSchedule);
}

[[gnu::noinline]] void note_yield() {
    const Vcpu& vcpu = arch::current();
    trace::event(TRC_SCHED_YIELD, vcpu.domain->id.raw(), vcpu.id.raw());
}

}  // namespace

void block_current() {
    Vcpu& vcpu = arch::current();
    if (vcpu_info* info = vcpu.info.load()) info->evtchn_upcall_mask = 0;
    // Blocked first, then the look at events; who sends one marks it pending first and then looks
    // whether we are blocked.
    vcpu.pause_flags.fetch_or(pause::kBlocked);
    if (event::has_pending(vcpu)) return unblock(vcpu);
    trace::event(TRC_SCHED_BLOCK, vcpu.domain->id.raw(), vcpu.id.raw());
    raise_softirq(Softirq::kSchedule);
}

void yield_current() {
    RunQueue& queue = queue_of(arch::this_cpu());
    // Those who wait elsewhere have been offered to the idle CPUs, so only this queue matters.
    if (queue.waiting_count.load(std::memory_order_relaxed) != 0) yield_to_waiting(queue);
    if (trace::is_on()) [[unlikely]]
        note_yield();
}

Result<> poll_current(const sched_poll& poll) {
    if (poll.nr_ports > kMaxPollPorts) return Errno::kEINVAL;
    Vcpu& vcpu = arch::current();
    const GuestIn<evtchn_port_t> ports(poll.ports);
    uint32_t announced = event::kPollSeveral;
    if (poll.nr_ports == 1) announced = TRY(ports.load());

    vcpu.pause_flags.fetch_or(pause::kBlocked);
    event::begin_poll(vcpu, announced);
    const auto found =
        event::has_pending(vcpu) ? Result<bool>(true) : any_pending(vcpu, ports, poll.nr_ports);
    if (!found.ok() || *found) {
        event::clear_poll(vcpu);
        unblock(vcpu);
        if (!found.ok()) return found.error();
        return {};
    }
    trace::event(TRC_SCHED_BLOCK, vcpu.domain->id.raw(), vcpu.id.raw());
    if (poll.timeout) vcpu.poll_timer.set(static_cast<Nanoseconds>(poll.timeout));
    raise_softirq(Softirq::kSchedule);
    return {};
}

}  // namespace hv::sched
