// sched_op: giving up the CPU, waiting, and ending.
#include "events.hpp"
#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

TEST(sched_yield, "SCHEDOP_yield: comes back; lets the other vCPU of one CPU run", "vcpus=2") {
    static volatile unsigned turns;
    turns = 0;
    CHECK_EQ(sched_op(SCHEDOP_yield), 0);
    start_second_vcpu([] {
        for (unsigned i = 0; i < 50; ++i) {
            turns = turns + 1;
            sched_op(SCHEDOP_yield);
        }
    });
    CHECK(wait_for([] { return turns == 50; }));
    CHECK(wait_for([] { return vcpu_op(VCPUOP_is_up, 1) == 0; }));
}

TEST(sched_block, "SCHEDOP_block: enables upcalls, returns after the timer's event was taken", "") {
    const Port port = bind_virq(VIRQ_TIMER);
    clear_all_pending();
    upcalls = 0;
    set_handler(kEvent, count_upcall);
    vcpu_set_singleshot_timer_t timer = {.timeout_abs_ns = system_time() + 10'000'000};
    CHECK_EQ(vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer), 0);
    CHECK(this_vcpu_masked());
    CHECK_EQ(sched_op(SCHEDOP_block), 0);
    CHECK_EQ(upcalls, 1);
    CHECK(system_time() + kClockSlack >= timer.timeout_abs_ns);
    CHECK(!this_vcpu_masked());
    disable_upcalls();
    CHECK_EQ(close_port(port), 0);
}

TEST(sched_block_pending, "SCHEDOP_block with an event pending returns at once", "") {
    const Port port = bind_ipi();
    clear_all_pending();
    upcalls = 0;
    set_handler(kEvent, count_upcall);
    CHECK_EQ(send_event(port), 0);
    CHECK_EQ(sched_op(SCHEDOP_block), 0);
    CHECK_EQ(upcalls, 1);
    disable_upcalls();
    CHECK_EQ(close_port(port), 0);
}

TEST(sched_poll, "SCHEDOP_poll: a pending port at once, a time-out, a port that becomes pending",
     "") {
    const Port port = bind_ipi();
    clear_all_pending();
    set_masked(port, true);
    evtchn_port_t ports[1] = {port};
    sched_poll_t poll = {.nr_ports = 1};
    set_xen_guest_handle(poll.ports, ports);
    CHECK_EQ(send_event(port), 0);
    CHECK_EQ(sched_op(SCHEDOP_poll, &poll), 0);
    CHECK(this_vcpu_masked());  // no upcall is taken for it
    clear_pending(port);
    poll.timeout = system_time() + 10'000'000;
    CHECK_EQ(sched_op(SCHEDOP_poll, &poll), 0);
    CHECK(system_time() + kClockSlack >= poll.timeout);
    CHECK(!pending(port));
    set_masked(port, false);
    const Port timer_port = bind_virq(VIRQ_TIMER);
    set_masked(timer_port, true);
    vcpu_set_singleshot_timer_t timer = {.timeout_abs_ns = system_time() + 10'000'000};
    CHECK_EQ(vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer), 0);
    ports[0] = timer_port;
    poll.timeout = 0;
    CHECK_EQ(sched_op(SCHEDOP_poll, &poll), 0);
    CHECK(pending(timer_port));
    set_masked(timer_port, false);
    clear_all_pending();
    CHECK_EQ(close_port(timer_port), 0);
    CHECK_EQ(close_port(port), 0);
}

TEST(sched_poll_refuses, "SCHEDOP_poll: too many ports, bad ports, bad pointers", "") {
    evtchn_port_t ports[1] = {1u << 20};
    sched_poll_t poll = {.nr_ports = 129};
    set_xen_guest_handle(poll.ports, ports);
    CHECK_EQ(sched_op(SCHEDOP_poll, &poll), -kEINVAL);
    poll.nr_ports = 1;
    CHECK_EQ(sched_op(SCHEDOP_poll, &poll), -kEINVAL);
    set_xen_guest_handle(poll.ports, reinterpret_cast<evtchn_port_t*>(0x1000));
    CHECK_EQ(sched_op(SCHEDOP_poll, &poll), -kEFAULT);
    CHECK_EQ(hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, 0x1000), -kEFAULT);
    CHECK_EQ(sched_op(77), -kENOSYS);
}

TEST(sched_watchdog, "SCHEDOP_watchdog: set, changed, stopped; unknown slots refused", "") {
    sched_watchdog_t watchdog = {.id = 0, .timeout = 60};
    const long id = sched_op(SCHEDOP_watchdog, &watchdog);
    CHECK(id > 0);
    watchdog.id = id;
    CHECK_EQ(sched_op(SCHEDOP_watchdog, &watchdog), 0);
    watchdog.timeout = 0;
    CHECK_EQ(sched_op(SCHEDOP_watchdog, &watchdog), 0);
    watchdog = {.id = 9, .timeout = 60};
    CHECK_EQ(sched_op(SCHEDOP_watchdog, &watchdog), -kEINVAL);
}

TEST(sched_pin_override, "SCHEDOP_pin_override: to CPU 0 and back; a CPU that is not there", "") {
    sched_pin_override_t pin = {.pcpu = 0};
    CHECK_EQ(sched_op(SCHEDOP_pin_override, &pin), 0);
    CHECK_EQ(sched_op(SCHEDOP_pin_override, &pin), -kEBUSY);
    pin.pcpu = -1;
    CHECK_EQ(sched_op(SCHEDOP_pin_override, &pin), 0);
    pin.pcpu = 100000;
    CHECK_EQ(sched_op(SCHEDOP_pin_override, &pin), -kEINVAL);
}

TEST(sched_shutdown_refuses, "SCHEDOP_shutdown and remote_shutdown: bad pointers and domains", "") {
    CHECK_EQ(hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, 0x1000), -kEFAULT);
    sched_remote_shutdown_t remote = {.domain_id = 1234, .reason = SHUTDOWN_poweroff};
    CHECK_EQ(sched_op(SCHEDOP_remote_shutdown, &remote), -kESRCH);
}

TEST(shutdown_poweroff, "SCHEDOP_shutdown poweroff of Domain 0: the machine halts",
     "ends=(?i)dom(ain )?0 (halted|has shut down .power-off.)") {
    announce_end();
    sched_shutdown_t request = {.reason = SHUTDOWN_poweroff};
    sched_op(SCHEDOP_shutdown, &request);
}

TEST(shutdown_reboot, "SCHEDOP_shutdown reboot of Domain 0: the machine restarts",
     "ends=(?i)dom(ain )?0 (shutdown: rebooting|has shut down .reboot.)") {
    announce_end();
    sched_shutdown_t request = {.reason = SHUTDOWN_reboot};
    sched_op(SCHEDOP_shutdown, &request);
}

TEST(shutdown_crash, "SCHEDOP_shutdown crash of Domain 0: said so on the console", "crash") {
    announce_end();
    sched_shutdown_t request = {.reason = SHUTDOWN_crash};
    sched_op(SCHEDOP_shutdown, &request);
}

TEST(shutdown_watchdog_fires, "SCHEDOP_watchdog runs out: the domain is ended",
     "ends=(?i)(watchdog|dom(ain )?0 (watchdog )?(crashed|shutdown|has shut down))") {
    announce_end();
    sched_watchdog_t watchdog = {.id = 0, .timeout = 1};
    sched_op(SCHEDOP_watchdog, &watchdog);
    wait_for([] { return false; }, 10'000'000'000);
}

}  // namespace guest
