// What the hypervisor handed over at the start: start_info, the shared page, the command line,
// time, and a second vCPU.
#pragma once

#include "xen.hpp"

namespace guest {

extern start_info_t* start_info;
/// The registers as they were at the first instruction (entry.S).
struct BootState {
    uint64_t rsi, rsp, cs, ss, ds, es, fs, gs, rflags, tsc;
};
extern "C" BootState boot_state;

/// Maps shared_info and reads the command line; called once, first.
void init_platform(start_info_t* info);

shared_info_t& shared_info();
/// The boot vCPU's area: in shared_info, until a test moves it.
volatile vcpu_info_t& vcpu_info();
inline bool this_vcpu_masked() {
    return vcpu_info().evtchn_upcall_mask & 1;
}
/// Tells the framework that VCPUOP_register_vcpu_info moved the boot vCPU's area.
void set_vcpu_info(vcpu_info_t* moved);

/// Value of `key=value` in the command line, up to the next blank; nullptr when absent.
const char* option(const char* key);

inline uint64_t rdtsc() {
    uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return static_cast<uint64_t>(high) << 32 | low;
}
/// System time in nanoseconds by the version protocol of vcpu_time_info.
uint64_t system_time(const volatile vcpu_time_info_t& area);
uint64_t system_time();
/// By how many ns a timer may seem to fire too early: a vCPU's clock is set right once a second,
/// and is behind the hypervisor's by what has gathered since.
constexpr uint64_t kClockSlack = 50'000;
/// Waits without blocking, until `done()` or for `ns` nanoseconds; true when done.
template <typename F>
bool wait_for(F done, uint64_t ns = 2'000'000'000) {
    const uint64_t end = system_time() + ns;
    while (system_time() < end) {
        if (done()) return true;
        sched_op(SCHEDOP_yield);
    }
    return done();
}

/// Whether `progress()`, what another vCPU gets done meanwhile, is `enough` in ten of 200 tries.
/// Not in each: on a busy machine the other may not run just then. And once is too seldom: it may
/// have run while this one did not, between two calls.
template <typename F>
bool goes_on(F progress, unsigned enough) {
    unsigned good = 0;
    for (unsigned i = 0; i < 200 && good < 10; ++i) good += progress() >= enough;
    return good == 10;
}

/// Builds the context of vCPU 1 so that it runs `entry` on a stack of its own with upcalls masked.
void second_vcpu_context(vcpu_guest_context_t& context, void (*entry)());
/// Gives vCPU 1 work: VCPUOP_initialise where that has not been, then VCPUOP_up. It goes down when
/// `entry` returns, and can be started again.
void start_second_vcpu(void (*entry)());
/// False on the stack of vCPU 1.
bool on_boot_vcpu();

inline void compiler_barrier() {
    asm volatile("" ::: "memory");
}

}  // namespace guest
