// Are the TSCs of all CPUs in step? Two CPUs pass one word to and fro and write their TSC into it:
// one that then reads less than the other has just written is behind.
#include <cpuid.h>

#include <atomic>

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "base/lock.hpp"
#include "hv/console/log.hpp"
#include "hv/lock_rank.hpp"
#include "hv/x86/time/time.hpp"
#include "hv/x86/time/tsc.hpp"

namespace hv::time {
namespace {

constexpr Nanoseconds kPatience = 100 * kMillisecond;
constexpr Nanoseconds kComparison = kMillisecond;

enum class Side : uint8_t { kWaiting, kNewcomer };

struct Meeting {
    std::atomic<uint32_t> present{0};  ///< one bit for each side
    std::atomic<uint32_t> left{0};
    SpinLock lock{static_cast<uint8_t>(Rank::kCalibration)};
    uint64_t last = 0;   ///< under `lock`: the latest TSC either has read
    uint64_t worst = 0;  ///< under `lock`: how far back one was
};
constinit Meeting meeting;
constinit std::atomic<uint32_t> in_step{1};  ///< CPUs known to be; the boot CPU is by definition

bool wait_for_both(std::atomic<uint32_t>& flags) {
    const Nanoseconds give_up = arch::now() + kPatience;
    while (flags.load() != 3) {
        if (arch::now() > give_up) return false;
        base::spin_wait();
    }
    return true;
}

void compare(Side side) {
    const uint32_t me = 1u << static_cast<unsigned>(side);
    meeting.present.fetch_or(me);
    if (!wait_for_both(meeting.present)) return;
    const Nanoseconds end = arch::now() + kComparison;
    while (arch::now() < end) {
        LockGuard guard(meeting.lock);
        const uint64_t tsc = read_tsc();
        if (tsc < meeting.last && meeting.last - tsc > meeting.worst)
            meeting.worst = meeting.last - tsc;
        meeting.last = tsc;
    }
    meeting.left.fetch_or(me);
}

bool constant_rate() {
    uint32_t a, b, c, d;
    __cpuid(0x80000000, a, b, c, d);
    if (a < 0x80000007) return false;
    __cpuid(0x80000007, a, b, c, d);
    return d & (1u << 8);  // "invariant TSC": constant in all power states
}

}  // namespace

void compare_tsc_as_newcomer(CpuId) {
    compare(Side::kNewcomer);
}

void compare_tsc_with(CpuId newcomer) {
    compare(Side::kWaiting);
    const bool compared = wait_for_both(meeting.left);
    const uint64_t warp = meeting.worst;
    meeting.present = meeting.left = 0;
    meeting.last = meeting.worst = 0;
    if (!compared)
        log(LogLevel::kWarning, "CPU {} was too slow to compare its TSC", newcomer);
    else if (warp)
        log(LogLevel::kWarning, "TSC of CPU {} is out of step by {} ticks", newcomer, warp);
    else
        in_step.fetch_add(1);
}

bool tsc_is_stable() {
    static constinit std::atomic<int8_t> constant{-1};
    if (constant.load(std::memory_order_relaxed) < 0) constant = constant_rate();
    return constant.load(std::memory_order_relaxed) &&
           in_step.load() == arch::online_cpus().count();
}

}  // namespace hv::time
