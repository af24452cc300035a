// A domain that stops by itself (shutdown, reboot, suspend) or is stopped for what it did (crash).
#include <cstdint>

#include <xen/sched.h>

#include "arch/cpu.hpp"
#include "boot/options.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/event/bind.hpp"
#include "hv/event/event.hpp"
#include "hv/sched/sched.hpp"

namespace hv {

namespace {

const char* reason_text(uint8_t reason) {
    switch (reason) {
        case SHUTDOWN_poweroff:
            return "power-off";
        case SHUTDOWN_reboot:
            return "reboot";
        case SHUTDOWN_suspend:
            return "suspend";
        case SHUTDOWN_crash:
            return "crash";
        case SHUTDOWN_watchdog:
            return "watchdog";
        case SHUTDOWN_soft_reset:
            return "soft reset";
    }
    return "unknown";
}

/// The domain that owns the machine's devices is gone: the machine follows.
[[noreturn]] void machine_follows(uint8_t reason) {
    log(LogLevel::kError, "Domain 0 has shut down ({})", reason_text(reason));
    if (reason == SHUTDOWN_poweroff) arch::machine_power_off();
    if (boot::options().noreboot) {
        log(LogLevel::kError, "'noreboot' was given: the machine halts here");
        arch::machine_halt();
    }
    arch::machine_restart();
}

}  // namespace

void Domain::shutdown(uint8_t reason) {
    {
        LockGuard guard(life_lock);
        if (is_shutting_down || dying.load() != Dying::kAlive) return;
        if (reason == SHUTDOWN_crash) arch::log_guest_state(*this);
        if (is_hardware) machine_follows(reason);
        is_shutting_down = true;
        shutdown_code = reason;
        sched::domain_pause_nosync(*this);
        is_shut_down = true;
    }
    event::send_host_virq(VIRQ_DOM_EXC);
    // Its saver may have asked to be told more directly than by the VIRQ that all share.
    if (const uint32_t port = suspend_port.load(); port && reason == SHUTDOWN_suspend)
        (void)event::send(*this, Port{port});  // it may be gone by now
}

void Domain::resume() {
    LockGuard guard(life_lock);
    if (!is_shutting_down) return;
    is_shutting_down = is_shut_down = false;
    shutdown_code = 0xff;
    sched::domain_unpause(*this);
}

void Domain::crash(const char* why) {
    {
        LockGuard guard(life_lock);
        if (is_shutting_down) return;
    }
    if (is_hardware)
        log(LogLevel::kError, "Domain 0 crashed: {}", why);
    else
        guest_log(LogLevel::kError, "d{} crashed: {}", id, why);
    shutdown(SHUTDOWN_crash);
}

}  // namespace hv
