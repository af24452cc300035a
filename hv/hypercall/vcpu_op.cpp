// VCPUOP_*: what a domain does with its own vCPUs (<xen/vcpu.h>). Memory areas: vcpu_areas.cpp.
#include <cstdint>

#include <xen/sched.h>
#include <xen/vcpu.h>

#include "arch/cpu.hpp"
#include "arch/domain.hpp"
#include "arch/time.hpp"
#include "boot/options.hpp"
#include "boot/smp.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/hypercall/vcpu_areas.hpp"
#include "hv/memory/heap.hpp"
#include "hv/sched/sched.hpp"
#include "hv/sched/vcpu_timers.hpp"

namespace hv {
namespace {

bool is_down(const Vcpu& vcpu) {
    return vcpu.pause_flags.load() & pause::kDown;
}

Outcome initialise(Vcpu& vcpu, GuestIn<vcpu_guest_context> arg) {
    if (!has_vcpu_info(vcpu)) return Errno::kEINVAL;
    // Five kilobytes are too much for the stack.
    heap::Owned<vcpu_guest_context> context(heap::create<vcpu_guest_context>());
    if (!context) return Errno::kENOMEM;
    TRY(arg.load_many({context.get(), 1}));
    LockGuard guard(vcpu.domain->life_lock);
    if (vcpu.initialised) return Errno::kEEXIST;
    const Result<> set = arch::set_vcpu_context(vcpu, *context);
    // Checking its page tables was interrupted; what is done already stays done.
    if (!set.ok() && set.error() == Errno::kERESTART) return continue_with({});
    if (!set.ok()) {
        guest_log(LogLevel::kWarning, "vCPU {}: its first registers are refused, error {}", vcpu.id,
                  set.error());
        return set;
    }
    vcpu.initialised = true;
    return {};
}

Outcome up(Vcpu& vcpu) {
    if (!has_vcpu_info(vcpu)) return Errno::kEINVAL;
    bool was_down;
    {
        LockGuard guard(vcpu.domain->life_lock);
        if (!vcpu.initialised) return Errno::kEINVAL;
        was_down = vcpu.pause_flags.fetch_and(~pause::kDown) & pause::kDown;
    }
    if (was_down) sched::wake(vcpu);
    return {};
}

Outcome down(Vcpu& vcpu) {
    Domain& domain = *vcpu.domain;
    bool others_up = false;
    for (uint32_t n = 0; n < domain.max_vcpus; ++n)
        if (const Vcpu* v = domain.vcpus[n]) others_up |= v != &vcpu && !is_down(*v);
    if (!others_up) {
        domain.shutdown(SHUTDOWN_poweroff);
        return {};
    }
    if (!(vcpu.pause_flags.fetch_or(pause::kDown) & pause::kDown)) sched::sleep_nosync(vcpu);
    return {};
}

Outcome set_periodic(Vcpu& vcpu, GuestIn<vcpu_set_periodic_timer> arg) {
    // The upper limit leaves room for sums with system time.
    constexpr uint64_t kShortest = kMillisecond, kLongest = uint64_t{1} << 60;
    const auto request = TRY(arg.load());
    if (request.period_ns < kShortest || request.period_ns > kLongest) return Errno::kEINVAL;
    sched::set_periodic_timer(vcpu, static_cast<Nanoseconds>(request.period_ns));
    return {};
}

Outcome set_singleshot(Vcpu& vcpu, GuestIn<vcpu_set_singleshot_timer> arg) {
    if (&vcpu != &arch::current()) return Errno::kEINVAL;
    const auto request = TRY(arg.load());
    const auto deadline = request.timeout_abs_ns;
    if ((request.flags & VCPU_SSHOTTMR_future) && deadline < static_cast<uint64_t>(arch::now()))
        return Errno::kETIME;
    vcpu.singleshot_timer.set(static_cast<Nanoseconds>(deadline));
    return {};
}

Outcome stop_singleshot(Vcpu& vcpu) {
    if (&vcpu != &arch::current()) return Errno::kEINVAL;
    vcpu.singleshot_timer.stop();
    return {};
}

/// Only where vCPUs are CPUs: Domain 0 under dom0_vcpus_pin.
Outcome physical_id(const Vcpu& vcpu, GuestOut<vcpu_get_physid> arg) {
    if (!vcpu.domain->is_hardware || !boot::options().dom0_vcpus_pin) return Errno::kEINVAL;
    if (vcpu.id.raw() > boot::highest_present_cpu()) return Errno::kEINVAL;
    const auto names = boot::cpu_names(vcpu.id.raw());
    return arg.store({names.apic_id | uint64_t{names.acpi_id} << 32});
}

Outcome operate(uint32_t command, Vcpu& vcpu, uint64_t arg) {
    switch (command) {
        case VCPUOP_initialise:
            return initialise(vcpu, GuestIn<vcpu_guest_context>(arg));
        case VCPUOP_up:
            return up(vcpu);
        case VCPUOP_down:
            return down(vcpu);
        case VCPUOP_is_up:
            return Outcome(is_down(vcpu) ? 0 : 1);
        case VCPUOP_get_runstate_info:
            return GuestOut<vcpu_runstate_info>(arg).store(sched::runstate_of(vcpu));
        case VCPUOP_register_runstate_memory_area:
            return register_runstate_area(vcpu, GuestIn<vcpu_register_runstate_memory_area>(arg));
        case VCPUOP_set_periodic_timer:
            return set_periodic(vcpu, GuestIn<vcpu_set_periodic_timer>(arg));
        case VCPUOP_stop_periodic_timer:
            sched::set_periodic_timer(vcpu, 0);
            return {};
        case VCPUOP_set_singleshot_timer:
            return set_singleshot(vcpu, GuestIn<vcpu_set_singleshot_timer>(arg));
        case VCPUOP_stop_singleshot_timer:
            return stop_singleshot(vcpu);
        case VCPUOP_register_vcpu_info:
            return register_vcpu_info(vcpu, GuestIn<vcpu_register_vcpu_info>(arg));
        case VCPUOP_get_physid:
            return physical_id(vcpu, GuestOut<vcpu_get_physid>(arg));
        case VCPUOP_register_vcpu_time_memory_area:
            return register_time_area(vcpu, GuestIn<vcpu_register_time_memory_area>(arg));
        case VCPUOP_send_nmi:
            if (arg) return Errno::kEINVAL;
            arch::send_nmi(vcpu);
            return Outcome{};
        default:
            return Errno::kENOSYS;
    }
}

}  // namespace

Outcome do_vcpu_op(uint64_t command, uint64_t id, uint64_t arg, uint64_t, uint64_t) {
    Vcpu* vcpu = arch::current().domain->vcpu(static_cast<uint32_t>(id));
    if (!vcpu) return Errno::kENOENT;
    return operate(static_cast<uint32_t>(command), *vcpu, arg);
}

}  // namespace hv
