// Objects that readers find without a lock are freed only when no CPU can still be looking:
// every CPU has been outside the hypervisor, idle or between two softirqs since.
#pragma once

#include "base/list.hpp"
#include "hv/limits.hpp"

namespace hv {

/// Part of an object that is freed this way.
struct RcuHead : ListNode<RcuHead> {
    void (*function)(RcuHead*) = nullptr;
    uint64_t generation = 0;
};

/// Calls `function(head)` after a grace period, on some CPU, from Softirq::kRcu.
void call_rcu(RcuHead& head, void (*function)(RcuHead*));

/// This CPU holds no pointer it found under RCU. Called on the way back to a guest and when idle.
void rcu_quiescent();
void rcu_init();

}  // namespace hv
