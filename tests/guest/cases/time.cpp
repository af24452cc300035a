// Time and timers.
#include "events.hpp"
#include "memory.hpp"
#include "platform.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {
long set_timer_op(uint64_t timeout) {
    return hypercall(__HYPERVISOR_set_timer_op, timeout);
}
}  // namespace

TEST(time_monotonic, "vcpu_time_info: even version, system time never goes back", "") {
    uint64_t last = system_time();
    for (unsigned i = 0; i < 20000; ++i) {
        const uint64_t now = system_time();
        CHECK(now >= last);
        last = now;
    }
    CHECK_EQ(vcpu_info().time.version & 1, 0);
    CHECK(vcpu_info().time.tsc_shift > -32 && vcpu_info().time.tsc_shift < 32);
}

TEST(time_rate, "vcpu_time_info: its scale agrees with Xen's own seconds by the wall clock", "") {
    const volatile auto& area = vcpu_info().time;
    uint64_t per_second = (1'000'000'000ul << 32) / area.tsc_to_system_mul;
    per_second = area.tsc_shift < 0 ? per_second << -area.tsc_shift : per_second >> area.tsc_shift;
    CHECK(per_second > 100'000'000);
    const uint64_t t0 = system_time(), c0 = rdtsc();
    while (rdtsc() - c0 < per_second / 100) compiler_barrier();
    const uint64_t elapsed = system_time() - t0;
    CHECK(elapsed >= 9'900'000 && elapsed < 500'000'000);
}

TEST(time_wall_clock, "shared_info: the wall clock's version and seconds", "") {
    CHECK_EQ(shared_info().wc_version & 1, 0);
    CHECK(shared_info().wc_sec > 1'500'000'000);
    CHECK(shared_info().wc_nsec < 1'000'000'000);
}

TEST(timer_set_timer_op, "set_timer_op: VIRQ_TIMER comes at the time, not before", "") {
    const Port port = bind_virq(VIRQ_TIMER);
    clear_all_pending();
    const uint64_t when = system_time() + 10'000'000;
    CHECK_EQ(set_timer_op(when), 0);
    CHECK(wait_for([=] { return pending(port); }));
    CHECK(system_time() + kClockSlack >= when);
    clear_all_pending();
    // Zero stops it.
    CHECK_EQ(set_timer_op(system_time() + 10'000'000), 0);
    CHECK_EQ(set_timer_op(0), 0);
    CHECK(!wait_for([=] { return pending(port); }, 30'000'000));
    CHECK_EQ(close_port(port), 0);
}

TEST(timer_singleshot, "VCPUOP_set_singleshot_timer: fires, in the past too; VCPU_SSHOTTMR_future",
     "") {
    const Port port = bind_virq(VIRQ_TIMER);
    clear_all_pending();
    vcpu_set_singleshot_timer_t timer = {.timeout_abs_ns = system_time() + 5'000'000};
    CHECK_EQ(vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer), 0);
    CHECK(wait_for([=] { return pending(port); }));
    clear_all_pending();
    timer.timeout_abs_ns = system_time() - 1'000'000;
    CHECK_EQ(vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer), 0);
    CHECK(wait_for([=] { return pending(port); }));
    clear_all_pending();
    timer.flags = VCPU_SSHOTTMR_future;
    // The flag may be ignored (<xen/vcpu.h>): refused, or set and fired at once, never forgotten.
    const long answer = vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer);
    CHECK(answer == -kETIME || (answer == 0 && wait_for([=] { return pending(port); })));
    clear_all_pending();
    timer = {.timeout_abs_ns = system_time() + 10'000'000};
    CHECK_EQ(vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer), 0);
    CHECK_EQ(vcpu_op(VCPUOP_stop_singleshot_timer, 0), 0);
    CHECK(!wait_for([=] { return pending(port); }, 30'000'000));
    CHECK_EQ(vcpu_op(VCPUOP_set_singleshot_timer, 1, &timer), -kENOENT);
    CHECK_EQ(close_port(port), 0);
}

TEST(timer_periodic, "VCPUOP_set_periodic_timer: again and again; too short a period refused", "") {
    const Port port = bind_virq(VIRQ_TIMER);
    clear_all_pending();
    vcpu_set_periodic_timer_t timer = {.period_ns = 5'000'000};
    CHECK_EQ(vcpu_op(VCPUOP_set_periodic_timer, 0, &timer), 0);
    for (unsigned i = 0; i < 3; ++i) {
        CHECK(wait_for([=] { return pending(port); }));
        clear_all_pending();
    }
    CHECK_EQ(vcpu_op(VCPUOP_stop_periodic_timer, 0), 0);
    clear_all_pending();
    CHECK(!wait_for([=] { return pending(port); }, 30'000'000));
    timer.period_ns = 1000;
    CHECK_EQ(vcpu_op(VCPUOP_set_periodic_timer, 0, &timer), -kEINVAL);
    CHECK_EQ(close_port(port), 0);
}

TEST(time_memory_area, "VCPUOP_register_vcpu_time_memory_area: a second copy is kept up to date",
     "") {
    static vcpu_time_info_t copy;
    vcpu_register_time_memory_area_t area = {};
    area.addr.v = &copy;
    CHECK_EQ(vcpu_op(VCPUOP_register_vcpu_time_memory_area, 0, &area), 0);
    CHECK(wait_for([] {
        compiler_barrier();
        return copy.version && copy.tsc_to_system_mul == vcpu_info().time.tsc_to_system_mul;
    }));
    const uint64_t a = system_time(), b = system_time(copy), c = system_time();
    CHECK(b + 1'000'000 > a && b < c + 1'000'000);
    area.addr.v = nullptr;
    CHECK_EQ(vcpu_op(VCPUOP_register_vcpu_time_memory_area, 0, &area), 0);
}

}  // namespace guest
