// Objects that readers find without a lock are freed only when no CPU can still be looking:
// every CPU has been outside the hypervisor, idle or between two softirqs since. A grace period
// asks each CPU for that by Softirq::kRcu, so nobody pays while nothing is to be freed.
#pragma once

#include "base/list.hpp"
#include "hv/limits.hpp"

namespace hv {

/// Part of an object that is freed this way.
struct RcuHead : ListNode<RcuHead> {
    void (*function)(RcuHead*) = nullptr;
};

/// Calls `function(head)` after a grace period, on some CPU, from Softirq::kRcu.
void call_rcu(RcuHead& head, void (*function)(RcuHead*));

/// This CPU holds no pointer it found under RCU. Softirq::kRcu says so too.
void rcu_quiescent();
void rcu_init();

}  // namespace hv
