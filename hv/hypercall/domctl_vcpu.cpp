// domctl: registers of a vCPU, and where it may run.
#include "arch/cpu.hpp"
#include "hv/hypercall/control_bitmap.hpp"
#include "hv/hypercall/domctl.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/sched/pool.hpp"
#include "hv/sched/sched.hpp"

namespace hv::domctl {

namespace {

Result<Vcpu*> vcpu_of(const Call& call, uint32_t n, Errno missing) {
    if (n >= call.domain->max_vcpus) return Errno::kEINVAL;
    Vcpu* vcpu = call.domain->vcpu(n);
    if (!vcpu) return missing;
    return vcpu;
}

Result<> set_context(Call& call) {
    const auto& argument = call.op.u.vcpucontext;
    Vcpu* vcpu = TRY(vcpu_of(call, argument.vcpu, Errno::kEINVAL));
    if (is_self(*call.domain)) return Errno::kEINVAL;
    const GuestIn<vcpu_guest_context> from(argument.ctxt);
    if (from.is_null()) return Errno::kENOSYS;  // would reset it

    // Some 5 KiB: too much for the stack.
    heap::Owned<vcpu_guest_context> context(heap::create<vcpu_guest_context>());
    if (!context) return Errno::kENOMEM;
    TRY(from.load_many({context.get(), 1}));
    sched::domain_pause(*call.domain);
    auto done = arch::set_vcpu_context(*vcpu, *context);
    if (done) {
        vcpu->initialised = true;
        if (context->flags & VGCF_online)
            vcpu->pause_flags.fetch_and(~pause::kDown);
        else
            vcpu->pause_flags.fetch_or(pause::kDown);
    }
    sched::domain_unpause(*call.domain);
    return done;
}

Result<> get_context(Call& call) {
    const auto& argument = call.op.u.vcpucontext;
    Vcpu* vcpu = TRY(vcpu_of(call, argument.vcpu, Errno::kEINVAL));
    if (vcpu == &arch::current()) return Errno::kEINVAL;
    if (!vcpu->initialised) return Errno::kENODATA;
    heap::Owned<vcpu_guest_context> context(heap::create<vcpu_guest_context>());
    if (!context) return Errno::kENOMEM;
    sched::vcpu_pause(*vcpu);
    arch::sync_vcpu_state(*vcpu);
    arch::get_vcpu_context(*vcpu, *context);
    sched::vcpu_unpause(*vcpu);
    return GuestOut<vcpu_guest_context>(argument.ctxt).store(*context);
}

/// The vCPU that a call about affinities names. kEINVAL: a number out of range, no flag, or a flag
/// without its bitmap; kESRCH: no such vCPU.
Result<Vcpu*> affinity_subject(const Call& call) {
    const auto& argument = call.op.u.vcpuaffinity;
    Vcpu* vcpu = TRY(vcpu_of(call, argument.vcpu, Errno::kESRCH));
    const bool hard = argument.flags & XEN_VCPUAFFINITY_HARD;
    const bool soft = argument.flags & XEN_VCPUAFFINITY_SOFT;
    if (argument.flags == 0 || (hard && GuestIn<uint8_t>(argument.cpumap_hard.bitmap).is_null()) ||
        (soft && GuestIn<uint8_t>(argument.cpumap_soft.bitmap).is_null()))
        return Errno::kEINVAL;
    return vcpu;
}

Result<> set_affinity(Call& call) {
    const auto& argument = call.op.u.vcpuaffinity;
    Vcpu* vcpu = TRY(affinity_subject(call));
    // Undoes SCHEDOP_pin_override, also when it is all that is asked for.
    if (argument.flags & XEN_VCPUAFFINITY_FORCE) sched::end_pin_override(*vcpu);
    if (!(argument.flags & (XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT))) return {};
    CpuMask hard = vcpu->hard_affinity;
    CpuMask soft = vcpu->soft_affinity;
    if (argument.flags & XEN_VCPUAFFINITY_HARD) hard = TRY(load_bitmap(argument.cpumap_hard));
    if (argument.flags & XEN_VCPUAFFINITY_SOFT) soft = TRY(load_bitmap(argument.cpumap_soft));
    TRY(sched::set_affinity(*vcpu, hard, soft));
    sched::follow_nodes(*call.domain);

    // The answer is what has an effect.
    const CpuMask effective = hard & sched::pool_of(*call.domain).cpus.snapshot();
    if (argument.flags & XEN_VCPUAFFINITY_HARD) TRY(store_bitmap(argument.cpumap_hard, effective));
    if (argument.flags & XEN_VCPUAFFINITY_SOFT)
        TRY(store_bitmap(argument.cpumap_soft, soft & effective));
    return {};
}

Result<> get_affinity(Call& call) {
    const auto& argument = call.op.u.vcpuaffinity;
    const Vcpu* vcpu = TRY(affinity_subject(call));
    if (argument.flags & XEN_VCPUAFFINITY_HARD)
        TRY(store_bitmap(argument.cpumap_hard, vcpu->hard_affinity));
    if (argument.flags & XEN_VCPUAFFINITY_SOFT)
        TRY(store_bitmap(argument.cpumap_soft, vcpu->soft_affinity));
    return {};
}

}  // namespace

Outcome setvcpucontext(Call& call) {
    auto done = set_context(call);
    // Checking its page tables was interrupted; what is done already stays done.
    if (!done && done.error() == Errno::kERESTART) return continue_with({});
    return done;
}

Outcome getvcpucontext(Call& call) {
    return get_context(call);
}
Outcome setvcpuaffinity(Call& call) {
    return set_affinity(call);
}
Outcome getvcpuaffinity(Call& call) {
    return get_affinity(call);
}

}  // namespace hv::domctl
