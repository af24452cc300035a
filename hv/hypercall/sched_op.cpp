// SCHEDOP_*: what a guest asks of the scheduler (<xen/sched.h>).
#include <cstdint>

#include <xen/sched.h>

#include "arch/cpu.hpp"
#include "hv/console/trace.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/policy/policy.hpp"
#include "hv/sched/sched.hpp"

namespace hv {
namespace {

constexpr uint8_t kNoCode = 0xff;

Domain& caller() {
    return *arch::current().domain;
}

Outcome shutdown(GuestIn<sched_shutdown> arg) {
    const auto request = TRY(arg.load());
    trace::event(TRC_SCHED_SHUTDOWN, caller().id.raw(), arch::current().id.raw(), request.reason);
    caller().shutdown(static_cast<uint8_t>(request.reason));
    return {};
}

Outcome latch_shutdown_code(GuestIn<sched_shutdown> arg) {
    const auto request = TRY(arg.load());
    trace::event(TRC_SCHED_SHUTDOWN_CODE, caller().id.raw(), arch::current().id.raw(),
                 request.reason);
    LockGuard guard(caller().life_lock);
    if (caller().shutdown_code == kNoCode)
        caller().shutdown_code = static_cast<uint8_t>(request.reason);
    return {};
}

Outcome poll(GuestIn<sched_poll> arg) {
    return sched::poll_current(TRY(arg.load()));
}

Outcome remote_shutdown(GuestIn<sched_remote_shutdown> arg) {
    const auto request = TRY(arg.load());
    const DomainRef domain = TRY(Domain::find(DomId{request.domain_id}));
    TRY(policy::check(policy::Op::kRemoteShutdown, caller(), domain.get()));
    domain->shutdown(static_cast<uint8_t>(request.reason));
    return {};
}

Outcome watchdog(GuestIn<sched_watchdog> arg) {
    const auto request = TRY(arg.load());
    return sched::set_watchdog(caller(), request.id, request.timeout);
}

Outcome pin_override(GuestIn<sched_pin_override> arg) {
    if (!caller().is_hardware) return Errno::kEPERM;
    const auto request = TRY(arg.load());
    return sched::pin_override_current(request.pcpu);
}

}  // namespace

Outcome do_sched_op(uint64_t command, uint64_t arg, uint64_t, uint64_t, uint64_t) {
    switch (static_cast<uint32_t>(command)) {
        case SCHEDOP_yield:
            sched::yield_current();
            return {};
        case SCHEDOP_block:
            sched::block_current();
            return {};
        case SCHEDOP_shutdown:
            return shutdown(GuestIn<sched_shutdown>(arg));
        case SCHEDOP_poll:
            return poll(GuestIn<sched_poll>(arg));
        case SCHEDOP_remote_shutdown:
            return remote_shutdown(GuestIn<sched_remote_shutdown>(arg));
        case SCHEDOP_shutdown_code:
            return latch_shutdown_code(GuestIn<sched_shutdown>(arg));
        case SCHEDOP_watchdog:
            return watchdog(GuestIn<sched_watchdog>(arg));
        case SCHEDOP_pin_override:
            return pin_override(GuestIn<sched_pin_override>(arg));
        default:
            return Errno::kENOSYS;
    }
}

/// The call's first form, of guests from before Xen 3.0.2: no structures.
Outcome do_sched_op_compat(uint64_t command, uint64_t arg, uint64_t, uint64_t, uint64_t) {
    switch (static_cast<uint32_t>(command)) {
        case SCHEDOP_yield:
            sched::yield_current();
            return {};
        case SCHEDOP_block:
            sched::block_current();
            return {};
        case SCHEDOP_shutdown:
            caller().shutdown(static_cast<uint8_t>(arg));
            return {};
        default:
            return Errno::kENOSYS;
    }
}

}  // namespace hv
