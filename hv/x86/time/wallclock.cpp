// The time of day: what it was when system time was 0, for the host and for each domain.
#include <atomic>

#include "arch/time.hpp"
#include "base/lock.hpp"
#include "hv/domain/domain.hpp"
#include "hv/lock_rank.hpp"

namespace hv::arch {
namespace {

struct WallClock {
    uint64_t seconds = 0;  ///< since 1970, when system time was 0
    uint32_t nanoseconds = 0;
};
constinit Locked<WallClock, Rank::kCalibration> wallclock;

WallClock minus(uint64_t seconds, uint32_t nanoseconds, Nanoseconds system_time) {
    const auto back_seconds = static_cast<uint64_t>(system_time / kSecond);
    const auto back_ns = static_cast<uint32_t>(system_time % kSecond);
    WallClock clock{seconds - back_seconds, nanoseconds - back_ns};
    if (nanoseconds < back_ns) {
        --clock.seconds;
        clock.nanoseconds += static_cast<uint32_t>(kSecond);
    }
    return clock;
}

}  // namespace

void update_domain_wallclock(Domain& domain) {
    if (!domain.shared) return;
    shared_info& shared = *domain.shared;
    // The lock keeps two CPUs from writing the same page at once.
    auto clock = wallclock.lock();
    const uint64_t seconds = clock->seconds + static_cast<uint64_t>(domain.time_offset_seconds);
    // The same protocol as for vcpu_time_info: odd while it changes.
    std::atomic_ref<uint32_t> version(shared.wc_version);
    const uint32_t odd = version.load(std::memory_order_relaxed) | 1;
    version.store(odd, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    shared.wc_sec = static_cast<uint32_t>(seconds);
    shared.wc_sec_hi = static_cast<uint32_t>(seconds >> 32);
    shared.wc_nsec = clock->nanoseconds;
    version.store(odd + 1, std::memory_order_release);
}

void set_wallclock(uint64_t seconds, uint32_t nanoseconds, Nanoseconds system_time) {
    *wallclock.lock() = minus(seconds, nanoseconds, system_time);
    Domain::for_each([](Domain& domain) {
        update_domain_wallclock(domain);
        return true;
    });
}

}  // namespace hv::arch
