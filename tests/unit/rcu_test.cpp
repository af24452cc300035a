// Grace periods against a model: a callback may run only after every CPU has been quiescent since
// it was announced, and runs exactly once.
#include <gtest/gtest.h>

#include <bitset>
#include <deque>
#include <random>

#include "fake/sched_machine.hpp"

namespace hv {
namespace {

constexpr unsigned kCpus = 4;

struct Object : RcuHead {
    std::bitset<kCpus> quiescent_since;
    int freed = 0;
};
std::deque<Object> objects;

void announce(Object& object) {
    call_rcu(object, [](RcuHead* head) {
        auto* o = static_cast<Object*>(head);
        EXPECT_TRUE(o->quiescent_since.all());
        ++o->freed;
    });
}

void quiescent(CpuId cpu) {
    // The callbacks run at the end of this; the CPU itself holds nothing by then.
    for (Object& o : objects) o.quiescent_since.set(cpu);
    machine.as(cpu, [] { process_softirqs(); });
}

class Rcu : public testing::Test {
  protected:
    void SetUp() override {
        machine.cpu_count = kCpus;
        rcu_init();
        objects.clear();
    }
};

TEST_F(Rcu, WaitsForEveryCpu) {
    announce(objects.emplace_back());
    for (CpuId cpu : {2u, 0u, 3u}) quiescent(cpu);
    EXPECT_EQ(objects[0].freed, 0);
    quiescent(1);
    EXPECT_EQ(objects[0].freed, 1);
    for (CpuId cpu = 0; cpu < kCpus; ++cpu) EXPECT_FALSE(objects[0].linked());
}

TEST_F(Rcu, LateComersWaitForTheNextPeriod) {
    announce(objects.emplace_back());
    quiescent(0);
    announce(objects.emplace_back());  // CPU 0 may have found this one since
    for (CpuId cpu : {1u, 2u, 3u}) quiescent(cpu);
    EXPECT_EQ(objects[0].freed, 1);
    EXPECT_EQ(objects[1].freed, 0);
    for (CpuId cpu : {0u, 1u, 2u, 3u}) quiescent(cpu);
    EXPECT_EQ(objects[1].freed, 1);
}

TEST_F(Rcu, RandomOrder) {
    std::mt19937 random(3);
    for (int step = 0; step < 20000; ++step) {
        machine.this_cpu = random() % kCpus;
        if (random() % 3 == 0 && objects.size() < 2000)
            announce(objects.emplace_back());
        else
            quiescent(random() % kCpus);
    }
    for (int round = 0; round < 4; ++round)
        for (CpuId cpu = 0; cpu < kCpus; ++cpu) quiescent(cpu);
    for (Object& o : objects) EXPECT_EQ(o.freed, 1);
    for (CpuId cpu = 0; cpu < kCpus; ++cpu)
        machine.as(cpu, [] { EXPECT_FALSE(softirq_pending()); });
}

}  // namespace
}  // namespace hv
