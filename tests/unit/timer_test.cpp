// Timers against a sorted list.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "fake/sched_machine.hpp"

namespace hv {
namespace {

class Timers : public testing::Test {
  protected:
    void SetUp() override { boot_machine(3); }
};

struct Recorder {
    Timer timer;
    int fired = 0;
    Nanoseconds at = 0;
    CpuId on = 0;

    void init(CpuId cpu) {
        timer.init(
            [](void* data) {
                auto* r = static_cast<Recorder*>(data);
                ++r->fired;
                r->at = machine.now;
                r->on = machine.this_cpu;
            },
            this, cpu);
    }
};

TEST_F(Timers, FiresOnceAtItsTimeOnItsCpu) {
    Recorder r;
    r.timer.set(machine.now + 5);  // before init(): nothing
    EXPECT_FALSE(r.timer.active());
    r.init(2);
    const Nanoseconds due = machine.now + 7 * kMillisecond;
    r.timer.set(due);
    EXPECT_TRUE(r.timer.active());
    machine.run_until(due - 1);
    EXPECT_EQ(r.fired, 0);
    machine.run_for(kSecond);
    EXPECT_EQ(r.fired, 1);
    EXPECT_EQ(r.at, due);
    EXPECT_EQ(r.on, 2u);
    EXPECT_FALSE(r.timer.active());
    r.timer.set(machine.now - kSecond);  // long past: now
    machine.run_for(1);
    EXPECT_EQ(r.fired, 2);
    r.timer.set(machine.now + 5);
    r.timer.kill();
    r.timer.set(machine.now + 5);  // after kill(): nothing
    machine.run_for(10);
    EXPECT_EQ(r.fired, 2);
}

TEST_F(Timers, MayRearmItself) {
    struct Ticker {
        Timer timer;
        int left = 5;
    } ticker;
    ticker.timer.init(
        [](void* data) {
            auto* t = static_cast<Ticker*>(data);
            if (--t->left) t->timer.set(machine.now + kMillisecond);
        },
        &ticker, 0);
    ticker.timer.set(machine.now + kMillisecond);
    machine.run_for(4 * kMillisecond);
    EXPECT_EQ(ticker.left, 1);
    machine.run_for(kSecond);
    EXPECT_EQ(ticker.left, 0);
}

TEST_F(Timers, MovesWithItsDeadline) {
    Recorder r;
    r.init(0);
    const Nanoseconds due = machine.now + kMillisecond;
    r.timer.set(due);
    machine.as(1, [&] { r.timer.migrate(1); });
    machine.run_for(kSecond);
    EXPECT_EQ(r.at, due);
    EXPECT_EQ(r.on, 1u);
    EXPECT_EQ(r.fired, 1);
}

TEST_F(Timers, HardwareIsToldOnlyOfEarlierTimers) {
    Recorder first, later;
    first.init(0);
    later.init(0);
    machine.as(0, [&] {
        first.timer.set(machine.now + kMillisecond);
        const unsigned before = machine.cpus[0].programmed;
        for (int i = 2; i < 50; ++i) later.timer.set(machine.now + i * kMillisecond);
        EXPECT_EQ(machine.cpus[0].programmed, before);
    });
    machine.run_for(kSecond);
    EXPECT_EQ(first.fired + later.fired, 2);
}

TEST_F(Timers, RandomOperationsAgreeWithASortedList) {
    constexpr unsigned kTimers = 64;
    std::vector<Recorder> timers(kTimers);
    std::map<unsigned, Nanoseconds> model;  // what is armed
    std::vector<int> expected(kTimers, 0);
    std::mt19937 random(7);
    for (auto& r : timers) r.init(random() % 3);
    for (int step = 0; step < 50000; ++step) {
        const unsigned n = random() % kTimers;
        machine.this_cpu = random() % 3;
        switch (random() % 6) {
            case 0:
            case 1:
            case 2: {
                const Nanoseconds due = machine.now + 1 + random() % 1000;
                timers[n].timer.set(due);
                model[n] = due;
                break;
            }
            case 3:
                timers[n].timer.stop();
                model.erase(n);
                break;
            case 4:
                timers[n].timer.migrate(random() % 3);
                break;
            case 5: {
                const Nanoseconds end = machine.now + random() % 300;
                machine.run_until(end);
                for (auto it = model.begin(); it != model.end();) {
                    if (it->second > end) {
                        ++it;
                        continue;
                    }
                    ++expected[it->first];
                    ASSERT_EQ(timers[it->first].at, it->second);
                    it = model.erase(it);
                }
                break;
            }
        }
        ASSERT_EQ(timers[n].timer.active(), model.contains(n));
    }
    for (unsigned n = 0; n < kTimers; ++n) EXPECT_EQ(timers[n].fired, expected[n]);
    machine.this_cpu = kTestCpu;
    for (auto& r : timers) r.timer.kill();
}

}  // namespace
}  // namespace hv
