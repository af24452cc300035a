// Every policy, in a pool of its own beside pool 0, in virtual time: shares, caps, affinities, and
// domains and CPUs that go from pool to pool meanwhile.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>

#include <xen/domctl.h>
#include <xen/errno.h>
#include <xen/sched.h>
#include <xen/sysctl.h>

#include "fake/sched_machine.hpp"
#include "hv/sched/policy.hpp"
#include "hv/sched/pool.hpp"

namespace hv {
namespace {

constexpr unsigned kCpus = 6;  // 0 and 1 stay in pool 0

/// CPUs 2, 3, … as a pool.
struct TestPool {
    TestPool(uint32_t policy, unsigned cpus) {
        boot_machine(kCpus);
        auto made = sched::create_pool(sched::kAnyPool, policy);
        EXPECT_TRUE(made.ok());
        id = (*made)->id;
        for (unsigned n = 0; n < cpus; ++n) take(2 + n);
    }
    ~TestPool() {
        for (CpuId cpu = 0; cpu < kCpus; ++cpu) give_back(cpu);
        EXPECT_TRUE(sched::destroy_pool(id).ok());
        machine.settle();
    }
    void take(CpuId cpu) const {
        remove(0, cpu);
        EXPECT_TRUE(sched::add_cpu(id, cpu).ok());
        machine.settle();
    }
    void give_back(CpuId cpu) const {
        if (!sched::find_pool(id)->cpus.test(cpu)) return;
        remove(id, cpu);
        EXPECT_TRUE(sched::add_cpu(0, cpu).ok());
        machine.settle();
    }
    static void remove(uint32_t pool, CpuId cpu) {
        for (int turn = 0; turn < 5; ++turn) {
            const auto again = sched::remove_cpu(pool, cpu);
            ASSERT_TRUE(again.ok()) << static_cast<int>(again.error());
            if (!*again) return;
            machine.settle();
        }
        FAIL() << "somebody stays on CPU " << cpu;
    }
    uint32_t id = 0;
};

class PoolTest : public testing::TestWithParam<uint32_t> {
  protected:
    static void set(TestDomain& d, uint32_t policy, uint16_t weight, uint16_t cap) {
        xen_domctl_scheduler_op op{};
        op.sched_id = policy;
        op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
        op.u.credit = {weight, cap};
        ASSERT_TRUE(sched::domain_control(d.domain, op).ok());
    }
    void set(TestDomain& d, uint16_t weight, uint16_t cap) { set(d, GetParam(), weight, cap); }

    /// What all vCPUs of each domain run together in `duration`, in percent of one CPU.
    static std::vector<double> shares(std::vector<TestDomain*> domains, Nanoseconds duration) {
        const auto total = [](TestDomain& d) {
            Nanoseconds sum = 0;
            for (size_t n = 0; n < d.vcpus.size(); ++n) sum += d.ran(n);
            return sum;
        };
        std::vector<Nanoseconds> before;
        for (TestDomain* d : domains) before.push_back(total(*d));
        machine.run_for(duration);
        std::vector<double> result;
        for (size_t n = 0; n < domains.size(); ++n)
            result.push_back(100.0 * static_cast<double>(total(*domains[n]) - before[n]) /
                             static_cast<double>(duration));
        return result;
    }
    static void expect_shares(std::vector<TestDomain*> domains, std::vector<double> wanted) {
        machine.run_for(2 * kSecond);
        const auto got = shares(domains, 10 * kSecond);
        for (size_t n = 0; n < wanted.size(); ++n)
            EXPECT_NEAR(got[n], wanted[n], wanted[n] * 0.05) << "domain " << n;
    }
};

using SharesTest = PoolTest;
INSTANTIATE_TEST_SUITE_P(Policies, SharesTest,
                         testing::Values(XEN_SCHEDULER_CREDIT, XEN_SCHEDULER_CREDIT2),
                         [](const auto& p) {
                             return std::string(sched::find_policy(p.param)->name);
                         });

TEST_P(SharesTest, EqualOnTwoCpus) {
    TestPool pool(GetParam(), 2);
    for (unsigned count : {2u, 3u, 5u, 7u}) {
        SCOPED_TRACE(count);
        std::vector<std::unique_ptr<TestDomain>> domains;
        std::vector<TestDomain*> all;
        for (unsigned n = 0; n < count; ++n) {
            domains.push_back(
                std::make_unique<TestDomain>(static_cast<uint16_t>(n + 1), 1, pool.id));
            all.push_back(domains.back().get());
            all.back()->start();
        }
        expect_shares(all, std::vector<double>(count, 200.0 / count));
    }
}

TEST_P(SharesTest, WeightsOnOneCpuAndChanged) {
    TestPool pool(GetParam(), 1);
    TestDomain a(1, 1, pool.id), b(2, 1, pool.id);
    set(b, 512, 0);
    a.start();
    b.start();
    expect_shares({&a, &b}, {33.3, 66.7});
    set(a, 1536, 0);
    expect_shares({&a, &b}, {75, 25});
}

TEST_P(SharesTest, WeightsOnTwoCpus) {
    TestPool pool(GetParam(), 2);
    TestDomain a(1, 2, pool.id), b(2, 2, pool.id), c(3, 3, pool.id);
    set(b, 512, 0);
    for (TestDomain* d : {&a, &b, &c}) d->start();
    expect_shares({&a, &b, &c}, {200 * 2 / 9.0, 200 * 4 / 9.0, 200 * 3 / 9.0});
}

TEST_P(SharesTest, WeightWorthMoreThanACpu) {
    TestPool pool(GetParam(), 2);
    TestDomain big(1, 1, pool.id), small(2, 1, pool.id), smaller(3, 1, pool.id);
    set(big, 4096, 0);
    set(small, 512, 0);
    for (TestDomain* d : {&big, &small, &smaller}) d->start();
    expect_shares({&big, &small, &smaller}, {100, 66.7, 33.3});
}

TEST_P(SharesTest, WeightsAmongThoseBoundToABusyCpu) {
    TestPool pool(GetParam(), 2);
    TestDomain a(1, 1, pool.id), b(2, 1, pool.id), alone(3, 1, pool.id);
    for (TestDomain* d : {&a, &b})
        ASSERT_TRUE(sched::set_affinity((*d)[0], CpuMask::single(2), CpuMask::all()).ok());
    set(b, 768, 0);
    for (TestDomain* d : {&a, &b, &alone}) d->start();
    expect_shares({&a, &b, &alone}, {25, 75, 100});
}

TEST_P(SharesTest, CapAloneAndAmongOthers) {
    TestPool pool(GetParam(), 1);
    TestDomain capped(1, 1, pool.id);
    set(capped, 256, 40);
    capped.start();
    expect_shares({&capped}, {40});
    set(capped, 256, 5);
    expect_shares({&capped}, {5});
    set(capped, 256, 20);
    TestDomain a(2, 1, pool.id), b(3, 1, pool.id);
    set(b, 512, 0);
    a.start();
    b.start();
    expect_shares({&capped, &a, &b}, {20, 26.67, 53.33});
    set(capped, 256, 0);
    expect_shares({&capped, &a, &b}, {25, 25, 50});
    // A cap above its share changes nothing.
    set(capped, 256, 80);
    expect_shares({&capped, &a, &b}, {25, 25, 50});
}

TEST_P(SharesTest, CapOverAllVcpus) {
    TestPool pool(GetParam(), 3);
    TestDomain capped(1, 3, pool.id), other(2, 3, pool.id);
    set(capped, 256, 150);
    capped.start();
    expect_shares({&capped}, {150});
    set(capped, 256, 90);
    other.start();
    expect_shares({&capped, &other}, {90, 210});
}

TEST_P(SharesTest, LiftedCapCountsAtOnce) {
    TestPool pool(GetParam(), 1);
    TestDomain d(1, 1, pool.id);
    set(d, 256, 1);
    d.start();
    machine.run_for(kSecond + kMillisecond);
    EXPECT_FALSE(d[0].is_running);
    EXPECT_EQ(sched::runstate_of(d[0]).state, RUNSTATE_runnable);
    set(d, 256, 0);
    machine.settle();
    EXPECT_TRUE(d[0].is_running);
}

TEST_P(SharesTest, ParkedIsNotStolenByAnIdleCpu) {
    TestPool pool(GetParam(), 2);
    TestDomain d(1, 1, pool.id);
    set(d, 256, 10);
    d.start();
    machine.run_for(kSecond);
    const unsigned switches = machine.switches;
    machine.run_for(kSecond);
    EXPECT_LT(machine.switches - switches, 450u);  // two for each of 100 periods, and some slices
}

TEST_P(SharesTest, SleeperGoesFirstWhenItWakes) {
    TestPool pool(GetParam(), 1);
    TestDomain hog(1, 1, pool.id), sleeper(2, 1, pool.id);
    hog.start();
    machine.run_for(500 * kMillisecond);
    sleeper.start();
    machine.run_for(100 * kMillisecond);
    for (int round = 0; round < 50; ++round) {
        if (machine.cpus[2].current == &sleeper[0]) {
            machine.as(2, [] { sched::block_current(); });
            machine.settle();
        }
        machine.run_for(10 * kMillisecond);
        sched::wake(sleeper[0]);
        machine.run_for(kMillisecond);
        if (round > 10) {
            ASSERT_TRUE(sleeper[0].is_running) << round;
        }
    }
}

using AnyPolicy = PoolTest;
INSTANTIATE_TEST_SUITE_P(Policies, AnyPolicy,
                         testing::Values(XEN_SCHEDULER_CREDIT, XEN_SCHEDULER_CREDIT2,
                                         XEN_SCHEDULER_NULL),
                         [](const auto& p) {
                             return std::string(sched::find_policy(p.param)->name);
                         });

TEST_P(AnyPolicy, HardAffinityIsARule) {
    TestPool pool(GetParam(), 3);
    TestDomain d(1, 1, pool.id);
    d.start();
    for (CpuId cpu : {4u, 2u, 3u}) {
        ASSERT_TRUE(sched::set_affinity(d[0], CpuMask::single(cpu), CpuMask::all()).ok());
        machine.settle();
        EXPECT_EQ(machine.cpus[cpu].current, &d[0]);
    }
    // A CPU of another pool is none.
    EXPECT_EQ(sched::set_affinity(d[0], CpuMask::single(0), CpuMask::all()).error(),
              Errno::kEINVAL);
    CpuMask both = CpuMask::single(0);
    both.set(4);
    ASSERT_TRUE(sched::set_affinity(d[0], both, CpuMask::all()).ok());
    machine.run_for(kSecond);
    EXPECT_EQ(machine.cpus[4].current, &d[0]);
    EXPECT_EQ(d[0].hard_affinity, both);
}

TEST_P(AnyPolicy, SoftAffinityIsAWish) {
    TestPool pool(GetParam(), 3);
    TestDomain d(1, 2, pool.id);
    for (auto& v : d.vcpus)
        ASSERT_TRUE(sched::set_affinity(*v, CpuMask::all(), CpuMask::single(3)).ok());
    d.start();
    machine.run_for(kSecond);
    EXPECT_TRUE((d[0].cpu == 3) != (d[1].cpu == 3));
    EXPECT_TRUE(d[0].is_running && d[1].is_running);
}

TEST_P(AnyPolicy, DomainsMoveWhileTheyRun) {
    TestPool pool(GetParam(), 2);
    const size_t objects = machine.heap_objects;
    {
        TestDomain d(1, 2);
        d.start();
        machine.run_for(kSecond);
        const uint32_t in_pool_0 = sched::find_pool(0)->domains;
        for (int turn = 0; turn < 3; ++turn) {
            ASSERT_TRUE(sched::move_domain(d.domain, pool.id).ok());
            EXPECT_EQ(sched::find_pool(pool.id)->domains, 1u);
            EXPECT_EQ(sched::find_pool(0)->domains, in_pool_0 - 1);
            EXPECT_EQ(d.domain.config.cpupool_id, pool.id);
            const Nanoseconds before = d.ran(0);
            machine.run_for(kSecond);
            EXPECT_EQ(d.ran(0) - before, kSecond);
            EXPECT_TRUE(d[0].cpu >= 2 && d[0].cpu < 4);
            ASSERT_TRUE(sched::move_domain(d.domain, 0).ok());
            machine.run_for(kSecond);
            EXPECT_EQ(d.ran(0) - before, 2 * kSecond);
        }
        EXPECT_EQ(sched::move_domain(d.domain, 99).error(), Errno::kENOENT);
        machine.as(d[0].cpu, [] { EXPECT_TRUE(sched::pin_override_current(0).ok()); });
        machine.settle();
        EXPECT_EQ(sched::move_domain(d.domain, pool.id).error(), Errno::kEBUSY);
    }
    EXPECT_EQ(machine.heap_objects, objects);
}

TEST_P(AnyPolicy, MovingWithoutMemoryChangesNothing) {
    TestPool pool(GetParam(), 1);
    TestDomain d(1, 2);
    d.start();
    const size_t objects = machine.heap_objects;
    machine.fail_allocation = true;
    EXPECT_EQ(sched::move_domain(d.domain, pool.id).error(), Errno::kENOMEM);
    machine.fail_allocation = false;
    EXPECT_EQ(machine.heap_objects, objects);
    EXPECT_EQ(sched::find_pool(pool.id)->domains, 0u);
    machine.run_for(kSecond);
    EXPECT_TRUE(d[0].is_running && d[1].is_running);
}

TEST_P(AnyPolicy, CpusLeaveUnderThoseWhoRunThere) {
    TestPool pool(GetParam(), 3);
    TestDomain d(1, 2, pool.id);
    ASSERT_TRUE(sched::set_affinity(d[1], CpuMask::single(3), CpuMask::all()).ok());
    d.start();
    machine.run_for(kSecond);
    pool.give_back(3);
    machine.run_for(kMillisecond);
    EXPECT_TRUE(d[0].is_running && d[1].is_running);
    EXPECT_EQ(d[1].hard_affinity, CpuMask::all()) << "nowhere else could it have run";
    pool.give_back(4);
    machine.run_for(kSecond);
    EXPECT_TRUE(d[0].is_running != d[1].is_running);
    EXPECT_EQ(sched::remove_cpu(pool.id, 2).error(), Errno::kEBUSY);
    pool.take(4);
    machine.run_for(kSecond);
    EXPECT_TRUE(d[0].is_running && d[1].is_running);
    EXPECT_EQ(sched::free_cpus(), CpuMask{});
}

TEST_P(AnyPolicy, PinnedStopsACpuFromLeaving) {
    TestPool pool(GetParam(), 2);
    TestDomain d(1, 1, pool.id);
    d.start();
    machine.settle();
    machine.as(d[0].cpu, [] { EXPECT_TRUE(sched::pin_override_current(3).ok()); });
    machine.settle();
    EXPECT_EQ(sched::remove_cpu(pool.id, 3).error(), Errno::kEADDRINUSE);
    EXPECT_EQ(sched::remove_cpu(0, 4).error(), Errno::kEADDRNOTAVAIL) << "one at a time";
    EXPECT_EQ(sched::add_cpu(0, 3).error(), Errno::kEADDRNOTAVAIL);
    EXPECT_EQ(sched::destroy_pool(pool.id).error(), Errno::kEBUSY);
    sched::end_pin_override(d[0]);
    TestPool::remove(pool.id, 3);
    EXPECT_EQ(sched::free_cpus(), CpuMask::single(3));
    EXPECT_TRUE(sched::add_cpu(pool.id, sched::kAnyCpu).ok());
}

TEST_P(AnyPolicy, TheLastCpuGoesWithDyingDomains) {
    TestPool pool(GetParam(), 1);
    TestDomain d(1, 1, pool.id);
    d.start();
    machine.settle();
    d.domain.dying = Dying::kDying;
    sched::domain_pause(d.domain);
    TestPool::remove(pool.id, 2);
    EXPECT_EQ(d.domain.config.cpupool_id, 0u);
    EXPECT_EQ(sched::find_pool(pool.id)->domains, 0u);
    EXPECT_TRUE(sched::add_cpu(0, 2).ok());
}

/// As in sched_test.cpp: at rest nobody waits for a CPU that has nothing to do, wherever CPUs and
/// domains have gone meanwhile.
TEST_P(AnyPolicy, RandomOperationsAgreeWithTheModel) {
    TestPool pool(GetParam(), 2);
    const bool gives_cpus_away = GetParam() == XEN_SCHEDULER_NULL;
    const size_t objects = machine.heap_objects;
    for (unsigned seed = 1; seed <= 6; ++seed) {
        SCOPED_TRACE(seed);
        constexpr unsigned kVcpus = 7;
        TestDomain d(1, kVcpus, pool.id);
        std::mt19937 random(seed);
        std::vector<int> paused(kVcpus, 0);
        machine.while_switching = [&](Vcpu&) {
            if (random() % 8 == 0) sched::wake(d[random() % kVcpus]);
        };
        for (int step = 0; step < 3000; ++step) {
            const unsigned n = random() % kVcpus;
            const CpuId cpu = random() % kCpus;
            const bool busy = !arch::is_idle(*machine.cpus[cpu].current);
            switch (random() % 12) {
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
                    if (busy) machine.as(cpu, [] { sched::block_current(); });
                    break;
                case 3:
                case 4:
                    sched::wake(d[n]);
                    break;
                case 5: {
                    CpuMask mask;
                    mask.set_word(0, random() % 63 + 1);
                    const auto done = sched::set_affinity(d[n], mask, CpuMask::all());
                    ASSERT_TRUE(done.ok() || done.error() == Errno::kEINVAL);
                    break;
                }
                case 6:
                    if (d[n].pause_flags.fetch_xor(pause::kDown) & pause::kDown)
                        sched::wake(d[n]);
                    else
                        sched::sleep_nosync(d[n]);
                    break;
                case 7:
                    if (busy) machine.as(cpu, [] { sched::yield_current(); });
                    break;
                case 8:
                    machine.run_for(random() % (40 * kMillisecond));
                    break;
                case 9:
                    if (random() % 4) break;
                    ASSERT_TRUE(sched::move_domain(d.domain, random() % 2 ? pool.id : 0).ok());
                    break;
                case 10:
                    if (cpu > 2 && random() % 2) {
                        if (sched::find_pool(pool.id)->cpus.test(cpu))
                            pool.give_back(cpu);
                        else
                            pool.take(cpu);
                    }
                    break;
                case 11:
                    if (!gives_cpus_away && d.domain.config.cpupool_id == pool.id)
                        set(d, 256, random() % 2 ? 100 : 0);
                    break;
            }
            if (random() % 4) continue;
            machine.run_for(30 * kMillisecond);  // nobody is parked by a cap of 100 for longer
            machine.settle();
            CpuMask idle;
            unsigned running = 0;
            for (CpuId c = 0; c < kCpus; ++c) {
                const Vcpu& v = *machine.cpus[c].current;
                if (arch::is_idle(v)) {
                    idle.set(c);
                    continue;
                }
                ++running;
                ASSERT_TRUE(v.runnable() && v.hard_affinity.test(c) && v.cpu == c);
                ASSERT_TRUE(sched::pool_of(d.domain).cpus.test(c));
            }
            unsigned is_running = 0;
            xen_domctl_scheduler_op op{};
            op.sched_id = sched::pool_of(d.domain).policy->id;
            op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
            ASSERT_TRUE(sched::domain_control(d.domain, op).ok());
            const bool may_idle =
                sched::pool_of(d.domain).policy == &sched::kNullPolicy || op.u.credit.cap != 0;
            for (unsigned v = 0; v < kVcpus; ++v) {
                is_running += d[v].is_running;
                const int state = sched::runstate_of(d[v]).state;
                const CpuMask could =
                    d[v].hard_affinity & idle & sched::pool_of(d.domain).cpus.snapshot();
                if (d[v].is_running) {
                    ASSERT_EQ(state, RUNSTATE_running);
                } else if (d[v].runnable()) {
                    ASSERT_EQ(state, RUNSTATE_runnable) << "step " << step;
                    ASSERT_TRUE(may_idle || could.empty()) << "step " << step;
                } else {
                    ASSERT_GE(state, RUNSTATE_blocked);
                }
            }
            ASSERT_EQ(is_running, running);
        }
        machine.while_switching = nullptr;
    }
    EXPECT_EQ(machine.heap_objects, objects);
}

class NullTest : public testing::Test {};

TEST_F(NullTest, ACpuEachAndTheThirdWaits) {
    TestPool pool(XEN_SCHEDULER_NULL, 2);
    TestDomain d(1, 3, pool.id);
    d.start();
    machine.run_for(kSecond);
    EXPECT_EQ(d.ran(0), kSecond);
    EXPECT_EQ(d.ran(1), kSecond);
    EXPECT_EQ(d.ran(2), 0);
    EXPECT_EQ(sched::runstate_of(d[2]).state, RUNSTATE_runnable);
    // Blocked or paused, its CPU stays its own.
    machine.as(d[0].cpu, [] { sched::block_current(); });
    sched::vcpu_pause(d[1]);
    machine.run_for(kSecond);
    EXPECT_EQ(d.ran(2), 0);
    sched::wake(d[0]);
    sched::vcpu_unpause(d[1]);
    machine.run_for(kSecond);
    EXPECT_EQ(d.ran(0), 2 * kSecond);
    // Down it is given up.
    d[1].pause_flags.fetch_or(pause::kDown);
    sched::sleep_nosync(d[1]);
    machine.run_for(kSecond);
    EXPECT_EQ(d.ran(2), kSecond);
    d[1].pause_flags.fetch_and(~pause::kDown);
    sched::wake(d[1]);
    machine.run_for(kSecond);
    EXPECT_EQ(d.ran(2), 2 * kSecond);
    EXPECT_FALSE(d[1].is_running);
    pool.take(4);
    machine.run_for(kSecond);
    EXPECT_TRUE(d[1].is_running);
}

TEST_F(NullTest, NobodyIsInterruptedByATimer) {
    TestPool pool(XEN_SCHEDULER_NULL, 1);
    TestDomain d(1, 1, pool.id);
    d.start();
    machine.settle();
    const unsigned programmed = machine.cpus[2].programmed;
    machine.run_for(600 * kSecond);
    EXPECT_EQ(machine.cpus[2].programmed, programmed);
}

TEST_F(NullTest, EndOfADomainGivesItsCpu) {
    TestPool pool(XEN_SCHEDULER_NULL, 1);
    TestDomain waiting(2, 1, pool.id);
    {
        TestDomain first(1, 1, pool.id);
        first.start();
        machine.settle();
        waiting.start();
        machine.run_for(kSecond);
        EXPECT_EQ(waiting.ran(0), 0);
    }
    machine.run_for(kSecond);
    EXPECT_EQ(waiting.ran(0), kSecond);
}

TEST(Pools, AreMadeFoundAndDestroyed) {
    boot_machine(kCpus);
    const size_t objects = machine.heap_objects;
    EXPECT_EQ(sched::create_pool(0, XEN_SCHEDULER_CREDIT).error(), Errno::kEEXIST);
    EXPECT_EQ(sched::create_pool(5, XEN_SCHEDULER_RTDS).error(), Errno::kENOENT);
    ASSERT_TRUE(sched::create_pool(UINT32_MAX - 1, XEN_SCHEDULER_CREDIT).ok());
    const auto next = sched::create_pool(sched::kAnyPool, XEN_SCHEDULER_NULL);
    ASSERT_TRUE(next.ok());
    EXPECT_EQ((*next)->id, 1u) << "no number is above the highest";
    EXPECT_EQ(sched::find_pool_from(2)->id, UINT32_MAX - 1);
    EXPECT_EQ(sched::destroy_pool(7).error(), Errno::kENOENT);
    EXPECT_EQ(sched::destroy_pool(0).error(), Errno::kEBUSY);
    EXPECT_TRUE(sched::destroy_pool(1).ok());
    EXPECT_TRUE(sched::destroy_pool(UINT32_MAX - 1).ok());
    machine.run_for(kSecond);
    EXPECT_EQ(machine.heap_objects, objects);
    for (uint32_t n = 1; n < 2 * kCpus; ++n)
        ASSERT_TRUE(sched::create_pool(n, XEN_SCHEDULER_CREDIT).ok());
    EXPECT_EQ(sched::create_pool(50, XEN_SCHEDULER_CREDIT).error(), Errno::kENOSPC);
    for (uint32_t n = 1; n < 2 * kCpus; ++n) EXPECT_TRUE(sched::destroy_pool(n).ok());
    machine.fail_allocation = true;
    EXPECT_EQ(sched::create_pool(1, XEN_SCHEDULER_CREDIT).error(), Errno::kENOMEM);
    machine.fail_allocation = false;
}

TEST(Pools, ReportNamesWhoRunsAndWhoWaits) {
    TestPool pool(XEN_SCHEDULER_CREDIT2, 1);
    TestDomain d(1, 2, pool.id);
    d.start();
    machine.settle();
    machine.log_lines.clear();
    sched::report();
    std::string all;
    for (const auto& line : machine.log_lines) all += line + "\n";
    EXPECT_NE(all.find("credit2, 1 domains, CPUs 4"), std::string::npos) << all;
    EXPECT_NE(all.find("v0 runs"), std::string::npos) << all;
    EXPECT_NE(all.find("v1 waits, virtual time"), std::string::npos) << all;
}

}  // namespace
}  // namespace hv
