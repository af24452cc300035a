#include <gtest/gtest.h>

#include "fake/sched_machine.hpp"

namespace hv {
namespace {

std::vector<int> done;

class Softirqs : public testing::Test {
  protected:
    void SetUp() override {
        machine.cpu_count = 2;
        done.clear();
        set_softirq_handler(Softirq::kTimer, [] { done.push_back(1); });
        set_softirq_handler(Softirq::kTime, [] { done.push_back(2); });
        set_softirq_handler(Softirq::kSchedule, [] {
            done.push_back(3);
            if (done.size() == 1) raise_softirq(Softirq::kTimer);
        });
    }
};

TEST_F(Softirqs, RunInOrderAndOnce) {
    raise_softirq(Softirq::kSchedule);
    raise_softirq(Softirq::kTime);
    raise_softirq(Softirq::kTimer);
    raise_softirq(Softirq::kTimer);
    EXPECT_TRUE(softirq_pending());
    process_softirqs();
    EXPECT_FALSE(softirq_pending());
    EXPECT_EQ(done, (std::vector<int>{1, 2, 3}));
}

TEST_F(Softirqs, WhatAHandlerRaisesIsDoneToo) {
    raise_softirq(Softirq::kSchedule);
    process_softirqs();
    EXPECT_EQ(done, (std::vector<int>{3, 1}));
}

TEST_F(Softirqs, AnotherCpuIsKickedOnceAndNotOneself) {
    machine.cpus[1].kicks = machine.cpus[0].kicks = 0;
    raise_softirq_on(1, Softirq::kTime);
    raise_softirq_on(1, Softirq::kTimer);
    raise_softirq_on(0, Softirq::kTime);
    EXPECT_EQ(machine.cpus[1].kicks, 1u);
    EXPECT_EQ(machine.cpus[0].kicks, 0u);
    machine.settle();
    EXPECT_EQ(done, (std::vector<int>{2, 1, 2}));
    raise_softirq_on(1, Softirq::kTime);
    EXPECT_EQ(machine.cpus[1].kicks, 2u);
    machine.settle();
}

}  // namespace
}  // namespace hv
