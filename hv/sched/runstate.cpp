// How long each vCPU ran, waited, slept and was stopped, and the copies of that in guest memory.
#include "hv/console/trace.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace {

bool wants_update_flag(const Domain& domain) {
    return domain.vm_assist.load(std::memory_order_relaxed) &
           (uint64_t{1} << VMASST_TYPE_runstate_update_flag);
}

/// The copy is written while the guest may read it on another vCPU. With the assist, a flag in
/// state_entry_time says so: it is set before the first and cleared after the last change.
Result<> write_runstate(const Vcpu& vcpu) {
    const GuestInOut<vcpu_runstate_info> guest(vcpu.runstate_guest);
    vcpu_runstate_info copy = vcpu.runstate;
    if (!wants_update_flag(*vcpu.domain)) return guest.store(copy);
    copy.state_entry_time |= XEN_RUNSTATE_UPDATE;
    TRY(guest.store_field(copy, &vcpu_runstate_info::state_entry_time));
    std::atomic_thread_fence(std::memory_order_release);
    TRY(guest.store(copy));
    std::atomic_thread_fence(std::memory_order_release);
    copy.state_entry_time &= ~XEN_RUNSTATE_UPDATE;
    return guest.store_field(copy, &vcpu_runstate_info::state_entry_time);
}

}  // namespace

void change_runstate(Vcpu& vcpu, int state, Nanoseconds now) {
    vcpu_runstate_info& r = vcpu.runstate;
    const auto entered = static_cast<Nanoseconds>(r.state_entry_time);
    if (now > entered) {
        r.time[r.state] += static_cast<uint64_t>(now - entered);
        r.state_entry_time = static_cast<uint64_t>(now);
    }
    constexpr unsigned kOldShift = 8, kNewShift = 4;  // both states are part of the event
    trace::event(TRC_SCHED_RUNSTATE_CHANGE | static_cast<uint32_t>(r.state) << kOldShift |
                     static_cast<uint32_t>(state) << kNewShift,
                 vcpu.id.raw() | uint32_t{vcpu.domain->id.raw()} << 16);
    r.state = state;
}

vcpu_runstate_info runstate_of(Vcpu& vcpu) {
    vcpu_runstate_info copy;
    {
        QueueLock queue(vcpu);
        copy = vcpu.runstate;
    }
    const auto delta = arch::now() - static_cast<Nanoseconds>(copy.state_entry_time);
    if (delta > 0) copy.time[copy.state] += static_cast<uint64_t>(delta);
    return copy;
}

void update_guest_runstate(Vcpu& vcpu) {
    // The runstate of a running vCPU changes on its own CPU only, so no lock is needed to read it.
    if (vcpu.runstate_guest && !write_runstate(vcpu).ok())
        vcpu.dirty_runstate.store(true, std::memory_order_relaxed);
}

void update_guest_copies() {
    Vcpu& vcpu = arch::current();
    vcpu.dirty_runstate.store(false, std::memory_order_relaxed);
    update_guest_runstate(vcpu);
    arch::update_vcpu_time(vcpu);
}

}  // namespace hv::sched
