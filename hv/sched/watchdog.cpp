// SCHEDOP_watchdog: a domain that promises to call again is shut down when it does not.
#include <cstdint>

#include <xen/sched.h>

#include "hv/console/log.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace {

void on_expiry(void* data) {
    auto& domain = *static_cast<Domain*>(data);
    if (domain.is_shutting_down || domain.dying.load() != Dying::kAlive) return;
    log(LogLevel::kWarning, "d{}: its watchdog has expired", domain.id);
    domain.shutdown(SHUTDOWN_watchdog);
}

void arm(DomainData::Watchdog& dog, uint32_t seconds) {
    dog.timer.set(arch::now() + static_cast<Nanoseconds>(seconds) * kSecond);
}

}  // namespace

Result<uint32_t> set_watchdog(Domain& domain, uint32_t id, uint32_t seconds) {
    if (id > kWatchdogs || (id == 0 && seconds == 0)) return Errno::kEINVAL;
    LockGuard guard(domain.life_lock);
    auto& dogs = data_of(domain).watchdogs;
    if (id == 0) {
        for (uint32_t i = 0; i < kWatchdogs; ++i) {
            if (dogs[i].in_use) continue;
            dogs[i].in_use = true;
            dogs[i].timer.init(on_expiry, &domain, arch::this_cpu());
            arm(dogs[i], seconds);
            return i + 1;
        }
        return Errno::kENOSPC;
    }
    auto& dog = dogs[id - 1];
    if (!dog.in_use) return Errno::kEINVAL;
    if (seconds) {
        arm(dog, seconds);
    } else {
        dog.timer.stop();
        dog.in_use = false;
    }
    return uint32_t{0};
}

void stop_watchdogs(Domain& domain) {
    if (!domain.sched_data) return;
    // Not under life_lock: a watchdog that is just expiring takes it.
    for (auto& dog : data_of(domain).watchdogs) dog.timer.kill();
}

}  // namespace hv::sched
