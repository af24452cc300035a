// domctl: registers of a vCPU, and where it may run.
#include "arch/cpu.hpp"
#include "hv/hypercall/control_bitmap.hpp"
#include "hv/hypercall/domctl.hpp"
#include "hv/hypercall/guest_ptr.hpp"
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

/// Undoes SCHEDOP_pin_override for the tools.
void end_override(Vcpu& vcpu) {
    if (!vcpu.pin_overridden) return;
    vcpu.hard_affinity = vcpu.saved_affinity;
    vcpu.pin_overridden = false;
}

Result<> set_affinity(Call& call) {
    const auto& argument = call.op.u.vcpuaffinity;
    if (!(argument.flags & (XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT))) return Errno::kEINVAL;
    Vcpu* vcpu = TRY(vcpu_of(call, argument.vcpu, Errno::kESRCH));
    const CpuMask online = arch::online_cpus();
    CpuMask hard = vcpu->hard_affinity;
    CpuMask soft = vcpu->soft_affinity;
    if (argument.flags & XEN_VCPUAFFINITY_HARD) hard = TRY(load_bitmap(argument.cpumap_hard));
    if (argument.flags & XEN_VCPUAFFINITY_SOFT) soft = TRY(load_bitmap(argument.cpumap_soft));
    if (argument.flags & XEN_VCPUAFFINITY_FORCE) end_override(*vcpu);
    TRY(sched::set_affinity(*vcpu, hard, soft));

    // The answer is what has an effect.
    if (argument.flags & XEN_VCPUAFFINITY_HARD)
        TRY(store_bitmap(argument.cpumap_hard, hard & online));
    if (argument.flags & XEN_VCPUAFFINITY_SOFT)
        TRY(store_bitmap(argument.cpumap_soft, soft & hard & online));
    return {};
}

Result<> get_affinity(Call& call) {
    const auto& argument = call.op.u.vcpuaffinity;
    if (!(argument.flags & (XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT))) return Errno::kEINVAL;
    Vcpu* vcpu = TRY(vcpu_of(call, argument.vcpu, Errno::kESRCH));
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
