// The scheduler's core with the credit policy, in virtual time.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>

#include <xen/domctl.h>
#include <xen/errno.h>
#include <xen/sched.h>
#include <xen/sysctl.h>

#include "fake/sched_machine.hpp"
#include "hv/sched/vcpu_timers.hpp"

namespace hv {
namespace {

class Sched : public testing::Test {
  protected:
    void SetUp() override {
        machine.while_switching = nullptr;
        machine.virqs.clear();
        machine.pending_for = nullptr;
        machine.pending_port = 0;
    }
    static void use_cpus(TestDomain& d, std::initializer_list<CpuId> cpus) {
        CpuMask mask;
        for (CpuId cpu : cpus) mask.set(cpu);
        for (auto& v : d.vcpus) ASSERT_TRUE(sched::set_affinity(*v, mask, CpuMask::all()).ok());
    }
    /// What each vCPU ran in `duration`, in percent of it.
    static std::vector<double> shares(TestDomain& d, Nanoseconds duration) {
        std::vector<Nanoseconds> before;
        for (size_t n = 0; n < d.vcpus.size(); ++n) before.push_back(d.ran(n));
        machine.run_for(duration);
        std::vector<double> result;
        for (size_t n = 0; n < d.vcpus.size(); ++n)
            result.push_back(100.0 * static_cast<double>(d.ran(n) - before[n]) /
                             static_cast<double>(duration));
        return result;
    }
    static void expect_shares(TestDomain& d, Nanoseconds duration, std::vector<double> wanted) {
        const auto got = shares(d, duration);
        for (size_t n = 0; n < wanted.size(); ++n)
            EXPECT_NEAR(got[n], wanted[n], wanted[n] * 0.05) << "vCPU " << n;
    }
    /// Makes the vCPU that runs on `cpu` sleep, as SCHEDOP_block does.
    static void block_on(CpuId cpu) {
        machine.as(cpu, [] { sched::block_current(); });
        machine.settle();
    }
    static Result<> poll_on_0(const sched_poll& poll) {
        Result<> result;
        machine.as(0, [&] { result = sched::poll_current(poll); });
        return result;
    }
    static Vcpu& runs_on(CpuId cpu) { return *machine.cpus[cpu].current; }
    static void set_weight(TestDomain& d, uint16_t weight) {
        xen_domctl_scheduler_op op{};
        op.sched_id = XEN_SCHEDULER_CREDIT;
        op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
        op.u.credit.weight = weight;
        op.u.credit.cap = 0xffff;
        ASSERT_TRUE(sched::domain_control(d.domain, op).ok());
    }
};

TEST_F(Sched, UnknownPolicyIsNamedAndCreditUsed) {  // the first test: boots the machine
    boot_machine(1, "rtds");
    ASSERT_FALSE(machine.log_lines.empty());
    EXPECT_NE(machine.log_lines.back().find("rtds"), std::string::npos);
    EXPECT_EQ(sched::policy_id(), uint32_t{XEN_SCHEDULER_CREDIT});
}

TEST_F(Sched, OneRunsAndStops) {
    boot_machine(2);
    TestDomain d(1, 1);
    EXPECT_EQ(sched::runstate_of(d[0]).state, RUNSTATE_offline);
    d.start();
    machine.settle();
    EXPECT_EQ(&runs_on(d[0].cpu), &d[0]);
    EXPECT_TRUE(d[0].is_running);
    machine.run_for(kSecond);
    EXPECT_EQ(d.ran(0), kSecond);
    sched::vcpu_pause(d[0]);
    EXPECT_FALSE(d[0].is_running);
    EXPECT_EQ(sched::runstate_of(d[0]).state, RUNSTATE_offline);
    machine.run_for(kSecond);
    EXPECT_EQ(d.ran(0), kSecond);
    sched::vcpu_unpause(d[0]);
    machine.run_for(kSecond);
    EXPECT_EQ(d.ran(0), 2 * kSecond);
}

TEST_F(Sched, EqualSharesOnTwoCpus) {
    boot_machine(2);
    for (unsigned count : {2u, 3u, 4u, 5u, 7u}) {
        TestDomain d(1, count);
        use_cpus(d, {0, 1});
        d.start();
        machine.run_for(kSecond);
        SCOPED_TRACE(count);
        expect_shares(d, 10 * kSecond, std::vector<double>(count, 200.0 / count));
    }
}

TEST_F(Sched, EqualSharesOnThreeCpusOfFour) {
    boot_machine(4);
    TestDomain d(1, 5);
    use_cpus(d, {0, 2, 3});
    d.start();
    machine.run_for(kSecond);
    expect_shares(d, 10 * kSecond, std::vector<double>(5, 60.0));
    EXPECT_TRUE(arch::is_idle(runs_on(1)));
}

TEST_F(Sched, EqualSharesBetweenDomains) {
    boot_machine(2);
    TestDomain a(1, 1), b(2, 3);
    use_cpus(a, {0, 1});
    use_cpus(b, {0, 1});
    a.start();
    b.start();
    machine.run_for(kSecond);
    const auto before = a.ran(0);
    expect_shares(b, 10 * kSecond, {50, 50, 50});
    EXPECT_NEAR(static_cast<double>(a.ran(0) - before), 5e9, 5e9 * 0.05);
}

TEST_F(Sched, WeightsCount) {
    boot_machine(1);
    TestDomain a(1, 1), b(2, 1);
    use_cpus(a, {0});
    use_cpus(b, {0});
    set_weight(a, 512);
    a.start();
    b.start();
    machine.run_for(kSecond);
    const auto before = b.ran(0);
    expect_shares(a, 10 * kSecond, {66.7});
    EXPECT_NEAR(static_cast<double>(b.ran(0) - before), 3.333e9, 3.333e9 * 0.05);
}

TEST_F(Sched, WeightChangesWhileRunning) {
    boot_machine(1);
    TestDomain a(1, 1), b(2, 1);
    use_cpus(a, {0});
    use_cpus(b, {0});
    a.start();
    b.start();
    machine.run_for(kSecond);
    expect_shares(a, 10 * kSecond, {50});
    set_weight(b, 768);
    machine.run_for(kSecond);
    expect_shares(a, 10 * kSecond, {25});
}

TEST_F(Sched, WeightThatIsWorthMoreThanACpu) {
    boot_machine(2);
    TestDomain big(1, 1), small(2, 1), smaller(3, 1);
    for (TestDomain* d : {&big, &small, &smaller}) use_cpus(*d, {0, 1});
    set_weight(big, 4096);
    set_weight(small, 512);
    for (TestDomain* d : {&big, &small, &smaller}) d->start();
    machine.run_for(2 * kSecond);
    const auto before_small = small.ran(0), before_smaller = smaller.ran(0);
    expect_shares(big, 20 * kSecond, {100});
    EXPECT_NEAR(static_cast<double>(small.ran(0) - before_small), 13.33e9, 13.33e9 * 0.06);
    EXPECT_NEAR(static_cast<double>(smaller.ran(0) - before_smaller), 6.667e9, 6.667e9 * 0.06);
}

TEST_F(Sched, HardAffinityIsARule) {
    boot_machine(2);
    // Two bound to CPU 0, one to CPU 1: the halves of CPU 0, and a CPU alone.
    TestDomain a(1, 2), b(2, 1);
    use_cpus(a, {0});
    use_cpus(b, {1});
    a.start();
    b.start();
    machine.run_for(kSecond);
    const auto before = b.ran(0);
    expect_shares(a, 10 * kSecond, {50, 50});
    EXPECT_EQ(b.ran(0) - before, 10 * kSecond);
}

TEST_F(Sched, OneThatMayMoveHelpsItself) {
    boot_machine(2);
    // CPU 0 has three bound to it, CPU 1 one; the fifth may choose and gets half of CPU 1 at least.
    TestDomain a(1, 3), b(2, 1), c(3, 1);
    use_cpus(a, {0});
    use_cpus(b, {1});
    use_cpus(c, {0, 1});
    for (TestDomain* d : {&a, &b, &c}) d->start();
    machine.run_for(2 * kSecond);
    const auto before = b.ran(0);
    const auto got = shares(c, 10 * kSecond);
    EXPECT_GT(got[0], 38);
    EXPECT_GT(b.ran(0) - before, 38 * 10 * kSecond / 100);
}

TEST_F(Sched, SoftAffinityIsAWish) {
    boot_machine(4);
    TestDomain d(1, 2);
    for (auto& v : d.vcpus)
        ASSERT_TRUE(sched::set_affinity(*v, CpuMask::first_n(4), CpuMask::single(3)).ok());
    d.start();
    machine.run_for(kSecond);
    // One has its wish, the other runs somewhere rather than wait.
    EXPECT_TRUE((d[0].cpu == 3) != (d[1].cpu == 3));
    expect_shares(d, kSecond, {100, 100});
}

TEST_F(Sched, AffinityMovesARunningVcpu) {
    boot_machine(4);
    TestDomain d(1, 1);
    d.start();
    machine.settle();
    for (CpuId cpu : {2u, 0u, 3u, 1u}) {
        use_cpus(d, {cpu});
        machine.settle();
        EXPECT_EQ(&runs_on(cpu), &d[0]);
        EXPECT_EQ(d[0].cpu, cpu);
    }
    EXPECT_EQ(sched::set_affinity(d[0], CpuMask::single(40), CpuMask::all()).error(),
              Errno::kEINVAL);
}

TEST_F(Sched, PinOverride) {
    boot_machine(4);
    TestDomain d(1, 1);
    use_cpus(d, {1});
    d.start();
    machine.settle();
    machine.as(1, [] {
        EXPECT_EQ(sched::pin_override_current(-1).error(), Errno::kEINVAL);
        EXPECT_EQ(sched::pin_override_current(17).error(), Errno::kEINVAL);
        EXPECT_TRUE(sched::pin_override_current(2).ok());
        EXPECT_EQ(sched::pin_override_current(3).error(), Errno::kEBUSY);
    });
    machine.settle();
    EXPECT_EQ(&runs_on(2), &d[0]);
    EXPECT_EQ(sched::set_affinity(d[0], CpuMask::single(0), CpuMask::all()).error(), Errno::kEBUSY);
    machine.as(2, [] { EXPECT_TRUE(sched::pin_override_current(-1).ok()); });
    machine.settle();
    EXPECT_EQ(&runs_on(1), &d[0]);
}

TEST_F(Sched, SleeperGoesFirstWhenItWakes) {
    boot_machine(1);
    TestDomain hog(1, 1), sleeper(2, 1);
    use_cpus(hog, {0});
    use_cpus(sleeper, {0});
    hog.start();
    machine.run_for(500 * kMillisecond);
    sleeper.start();
    machine.run_for(100 * kMillisecond);
    for (int round = 0; round < 50; ++round) {
        if (&runs_on(0) == &sleeper[0]) block_on(0);
        machine.run_for(10 * kMillisecond);
        sched::wake(sleeper[0]);
        // At once, or when the hog has had its guaranteed first millisecond.
        machine.run_for(kMillisecond);
        if (round > 10) {
            ASSERT_EQ(&runs_on(0), &sleeper[0]) << round;
        }
    }
}

TEST_F(Sched, BlockLosesNoWakeUp) {
    boot_machine(2);
    TestDomain d(1, 1);
    vcpu_info info{};
    info.evtchn_upcall_mask = 1;
    d[0].info = &info;
    d.start();
    machine.settle();
    const CpuId cpu = d[0].cpu;
    // An event is there already: no sleep; and events are unmasked in any case.
    machine.pending_for = &d[0];
    block_on(cpu);
    EXPECT_EQ(&runs_on(cpu), &d[0]);
    EXPECT_EQ(info.evtchn_upcall_mask, 0);
    machine.pending_for = nullptr;
    // One that comes between the decision and the switch.
    machine.as(cpu, [] { sched::block_current(); });
    sched::wake(d[0]);
    machine.settle();
    EXPECT_TRUE(d[0].is_running);
    // One that comes in the middle of the switch, when another CPU could not take it yet.
    bool once = true;
    machine.while_switching = [&](Vcpu& prev) {
        if (&prev == &d[0] && std::exchange(once, false)) sched::wake(d[0]);
    };
    block_on(cpu);
    EXPECT_FALSE(once);
    EXPECT_TRUE(d[0].is_running);
    // And one that comes long after.
    machine.while_switching = nullptr;
    block_on(d[0].cpu);
    EXPECT_FALSE(d[0].is_running);
    EXPECT_EQ(sched::runstate_of(d[0]).state, RUNSTATE_blocked);
    machine.run_for(kSecond);
    sched::wake(d[0]);
    machine.settle();
    EXPECT_TRUE(d[0].is_running);
    EXPECT_EQ(sched::runstate_of(d[0]).time[RUNSTATE_blocked], uint64_t{kSecond});
}

TEST_F(Sched, PausesNest) {
    boot_machine(2);
    TestDomain d(1, 2);
    d.start();
    machine.settle();
    sched::vcpu_pause(d[0]);
    sched::domain_pause(d.domain);
    EXPECT_FALSE(d[0].is_running || d[1].is_running);
    sched::vcpu_pause_nosync(d[0]);
    sched::domain_unpause(d.domain);
    machine.settle();
    EXPECT_FALSE(d[0].is_running);
    EXPECT_TRUE(d[1].is_running);
    sched::vcpu_unpause(d[0]);
    machine.settle();
    EXPECT_FALSE(d[0].is_running);
    sched::vcpu_unpause(d[0]);
    machine.settle();
    EXPECT_TRUE(d[0].is_running);

    EXPECT_EQ(sched::domain_unpause_by_controller(d.domain).error(), Errno::kEINVAL);
    EXPECT_TRUE(sched::domain_pause_by_controller(d.domain).ok());
    EXPECT_TRUE(sched::domain_pause_by_controller(d.domain).ok());
    EXPECT_TRUE(sched::domain_unpause_by_controller(d.domain).ok());
    EXPECT_FALSE(d[1].is_running);
    EXPECT_TRUE(sched::domain_unpause_by_controller(d.domain).ok());
    machine.settle();
    EXPECT_TRUE(d[1].is_running);
    EXPECT_TRUE(d.domain.creation_finished);
}

TEST_F(Sched, PausedWhileQueuedOrBlocked) {
    boot_machine(1);
    TestDomain d(1, 2);
    use_cpus(d, {0});
    d.start();
    machine.settle();
    Vcpu& waits = &runs_on(0) == &d[0] ? d[1] : d[0];
    EXPECT_EQ(sched::runstate_of(waits).state, RUNSTATE_runnable);
    sched::vcpu_pause(waits);
    EXPECT_EQ(sched::runstate_of(waits).state, RUNSTATE_offline);
    block_on(0);
    EXPECT_TRUE(arch::is_idle(runs_on(0)));
    sched::vcpu_unpause(waits);
    machine.settle();
    EXPECT_EQ(&runs_on(0), &waits);
}

TEST_F(Sched, YieldLetsOthersGoFirstAndCostsNothingAlone) {
    boot_machine(1);
    TestDomain d(1, 2);
    use_cpus(d, {0});
    d[0].pause_flags = 0;
    sched::wake(d[0]);
    machine.run_for(5 * kMillisecond);
    machine.as(0, [] {
        sched::yield_current();
        EXPECT_FALSE(softirq_pending());
    });
    d[1].pause_flags = 0;
    sched::wake(d[1]);
    machine.settle();
    for (int i = 0; i < 6; ++i) {
        Vcpu* before = &runs_on(0);
        machine.as(0, [] { sched::yield_current(); });
        machine.settle();
        EXPECT_NE(&runs_on(0), before);
    }
}

TEST_F(Sched, PollEndsByTimeByEventAndAtOnce) {
    boot_machine(1);
    TestDomain d(1, 1);
    use_cpus(d, {0});
    d.start();
    machine.settle();
    evtchn_port_t ports[2] = {5, 6};
    sched_poll poll{};
    poll.nr_ports = 2;
    set_xen_guest_handle(poll.ports, ports);
    poll.timeout = static_cast<uint64_t>(machine.now + 20 * kMillisecond);
    ASSERT_TRUE(poll_on_0(poll).ok());
    machine.settle();
    EXPECT_FALSE(d[0].is_running);
    machine.run_for(19 * kMillisecond);
    EXPECT_FALSE(d[0].is_running);
    machine.run_for(2 * kMillisecond);
    EXPECT_TRUE(d[0].is_running);

    poll.timeout = 0;
    ASSERT_TRUE(poll_on_0(poll).ok());
    machine.run_for(kSecond);
    EXPECT_FALSE(d[0].is_running);
    sched::wake(d[0]);
    machine.settle();
    EXPECT_TRUE(d[0].is_running);
    EXPECT_EQ(d[0].poll_port, 0u);

    machine.pending_port = 6;
    ASSERT_TRUE(poll_on_0(poll).ok());
    machine.settle();
    EXPECT_TRUE(d[0].is_running);
    ports[1] = 99;
    EXPECT_EQ(poll_on_0(poll).error(), Errno::kEINVAL);
    EXPECT_TRUE(d[0].runnable());
    poll.nr_ports = 129;
    EXPECT_EQ(poll_on_0(poll).error(), Errno::kEINVAL);
}

TEST_F(Sched, PeriodicTickWhileItRuns) {
    boot_machine(2);
    TestDomain d(1, 1);
    d.start();
    machine.settle();
    sched::set_periodic_timer(d[0], 10 * kMillisecond);
    machine.run_for(105 * kMillisecond);
    EXPECT_EQ(machine.virqs.size(), 10u);
    block_on(d[0].cpu);
    machine.run_for(kSecond);
    EXPECT_EQ(machine.virqs.size(), 10u);
    sched::wake(d[0]);
    machine.settle();
    EXPECT_EQ(machine.virqs.size(), 11u);  // one for all that were missed
    machine.run_for(25 * kMillisecond);
    EXPECT_EQ(machine.virqs.size(), 13u);
    sched::set_periodic_timer(d[0], 0);
    machine.run_for(kSecond);
    EXPECT_EQ(machine.virqs.size(), 13u);
}

TEST_F(Sched, RunstateReachesTheGuestWithItsFlag) {
    boot_machine(2);
    TestDomain d(1, 1);
    vcpu_runstate_info copy{};
    d[0].runstate_guest = reinterpret_cast<uint64_t>(&copy);
    d.domain.vm_assist = uint64_t{1} << VMASST_TYPE_runstate_update_flag;
    d.start();
    machine.run_for(kSecond);
    EXPECT_EQ(copy.state, RUNSTATE_running);
    EXPECT_FALSE(copy.state_entry_time & XEN_RUNSTATE_UPDATE);
    machine.run_for(kSecond);
    block_on(d[0].cpu);
    EXPECT_EQ(copy.state, RUNSTATE_blocked);
    EXPECT_EQ(copy.time[RUNSTATE_running], uint64_t{2 * kSecond});
    EXPECT_EQ(copy.state_entry_time, static_cast<uint64_t>(machine.now));
    // Out of reach: remembered, and made good by whoever comes into the kernel.
    d[0].runstate_guest = 16;
    sched::wake(d[0]);
    machine.settle();
    EXPECT_TRUE(d[0].dirty_runstate);
    d[0].runstate_guest = reinterpret_cast<uint64_t>(&copy);
    machine.as(d[0].cpu, [] { sched::update_guest_copies(); });
    EXPECT_FALSE(d[0].dirty_runstate);
    EXPECT_EQ(copy.state, RUNSTATE_running);
}

TEST_F(Sched, PolicySettingsAreReadBack) {
    boot_machine(1);
    TestDomain d(1, 1);
    xen_domctl_scheduler_op op{};
    op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
    EXPECT_EQ(sched::domain_control(d.domain, op).error(), Errno::kEINVAL);
    op.sched_id = XEN_SCHEDULER_CREDIT;
    op.u.credit.weight = 700;
    op.u.credit.cap = 50;
    ASSERT_TRUE(sched::domain_control(d.domain, op).ok());
    op = {};
    op.sched_id = XEN_SCHEDULER_CREDIT;
    op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
    ASSERT_TRUE(sched::domain_control(d.domain, op).ok());
    EXPECT_EQ(op.u.credit.weight, 700);
    EXPECT_EQ(op.u.credit.cap, 50);

    xen_sysctl_scheduler_op params{};
    params.sched_id = XEN_SCHEDULER_CREDIT;
    params.cmd = XEN_SYSCTL_SCHEDOP_getinfo;
    ASSERT_TRUE(sched::system_control(params).ok());
    EXPECT_EQ(params.u.sched_credit.tslice_ms, 30u);
    params.cmd = XEN_SYSCTL_SCHEDOP_putinfo;
    params.u.sched_credit.tslice_ms = 2000;
    EXPECT_EQ(sched::system_control(params).error(), Errno::kEINVAL);
    params.cpupool_id = 3;
    EXPECT_EQ(sched::system_control(params).error(), Errno::kESRCH);
    params.cpupool_id = 0;
    params.cmd = 2;
    EXPECT_EQ(sched::system_control(params).error(), Errno::kEINVAL);
}

TEST_F(Sched, WatchdogBitesUnlessPoked) {
    boot_machine(1);
    TestDomain d(1, 1);
    const auto set = [&](uint32_t id, uint32_t seconds) {
        int64_t result = 0;
        machine.as(0, [&] {
            const auto r = sched::set_watchdog(d.domain, id, seconds);
            result = r.ok() ? int64_t{*r} : -static_cast<int64_t>(r.error());
        });
        return result;
    };
    EXPECT_EQ(set(0, 0), -XEN_EINVAL);
    EXPECT_EQ(set(1, 5), -XEN_EINVAL);
    EXPECT_EQ(set(0, 5), 1);
    EXPECT_EQ(set(0, 50), 2);
    EXPECT_EQ(set(0, 5), -XEN_ENOSPC);
    EXPECT_EQ(set(2, 0), 0);
    machine.run_for(4 * kSecond);
    EXPECT_EQ(set(1, 5), 0);
    machine.run_for(4 * kSecond);
    EXPECT_FALSE(d.domain.is_shutting_down);
    machine.run_for(2 * kSecond);
    EXPECT_TRUE(d.domain.is_shutting_down);
    EXPECT_EQ(d.domain.shutdown_code, SHUTDOWN_watchdog);
}

/// The model: a vCPU is runnable if nothing stops it; at rest, no CPU idles while one that may run
/// there waits, and every runnable vCPU is on exactly one CPU or waits.
TEST_F(Sched, RandomOperationsAgreeWithTheModel) {
    boot_machine(4);
    const size_t objects = machine.heap_objects;
    for (unsigned seed = 1; seed <= 8; ++seed) {
        SCOPED_TRACE(seed);
        constexpr unsigned kVcpus = 9;
        TestDomain d(1, kVcpus);
        std::mt19937 random(seed);
        std::vector<int> paused(kVcpus, 0);
        machine.while_switching = [&](Vcpu&) {
            if (random() % 8 == 0) sched::wake(d[random() % kVcpus]);
        };
        for (int step = 0; step < 5000; ++step) {
            const unsigned n = random() % kVcpus;
            const CpuId cpu = random() % 4;
            switch (random() % 9) {
                case 0:
                    sched::vcpu_pause_nosync(d[n]);
                    ++paused[n];
                    break;
                case 1:
                    if (paused[n] == 0) break;
                    --paused[n];
                    sched::vcpu_unpause(d[n]);
                    break;
                case 2:
                    if (!arch::is_idle(runs_on(cpu)))
                        machine.as(cpu, [] { sched::block_current(); });
                    break;
                case 3:
                case 4:
                    sched::wake(d[n]);
                    break;
                case 5: {
                    CpuMask mask;
                    mask.set_word(0, random() % 15 + 1);
                    ASSERT_TRUE(sched::set_affinity(d[n], mask, CpuMask::all()).ok());
                    break;
                }
                case 6:
                    if (d[n].pause_flags.fetch_xor(pause::kDown) & pause::kDown)
                        sched::wake(d[n]);
                    else
                        sched::sleep_nosync(d[n]);
                    break;
                case 7:
                    if (!arch::is_idle(runs_on(cpu)))
                        machine.as(cpu, [] { sched::yield_current(); });
                    break;
                case 8:
                    machine.run_for(random() % (40 * kMillisecond));
                    break;
            }
            if (random() % 4) continue;
            machine.settle();
            CpuMask idle;
            unsigned running = 0;
            for (CpuId c = 0; c < 4; ++c) {
                if (arch::is_idle(runs_on(c))) {
                    idle.set(c);
                    continue;
                }
                ++running;
                ASSERT_TRUE(runs_on(c).runnable());
                ASSERT_TRUE(runs_on(c).hard_affinity.test(c));
                ASSERT_EQ(runs_on(c).cpu, c);
            }
            unsigned is_running = 0;
            for (unsigned v = 0; v < kVcpus; ++v) {
                is_running += d[v].is_running;
                const int state = sched::runstate_of(d[v]).state;
                if (d[v].is_running) {
                    ASSERT_EQ(state, RUNSTATE_running);
                } else if (d[v].runnable()) {
                    ASSERT_EQ(state, RUNSTATE_runnable) << "step " << step;
                    ASSERT_TRUE((d[v].hard_affinity & idle).empty()) << "step " << step;
                } else {
                    ASSERT_GE(state, RUNSTATE_blocked);
                }
            }
            ASSERT_EQ(is_running, running);
        }
        machine.while_switching = nullptr;
        for (unsigned n = 0; n < kVcpus; ++n) {
            uint64_t sum = 0;
            for (uint64_t t : sched::runstate_of(d[n]).time) sum += t;
            EXPECT_LE(sum, static_cast<uint64_t>(machine.now));
        }
    }
    EXPECT_EQ(machine.heap_objects, objects);
}

}  // namespace
}  // namespace hv
