// A pairing heap of timers by deadline: arming takes constant time, disarming and taking the first
// logarithmic time on average, and nothing is allocated.
//
// Each timer's `child_` starts a chain of siblings that are due no earlier than it. Chains are
// doubly linked (the first sibling's `previous_` is the parent), so that any timer can be cut out.
#pragma once

#include "hv/sched/timer.hpp"

namespace hv {

class TimerHeap {
  public:
    Timer* first() const { return root_; }

    void insert(Timer& timer) {
        timer.child_ = timer.next_ = timer.previous_ = nullptr;
        root_ = root_ ? link(root_, &timer) : &timer;
    }

    void remove(Timer& timer) {
        Timer* children = pair_up(timer.child_);
        if (&timer == root_) {
            root_ = children;
        } else {
            cut(timer);
            if (children) root_ = link(root_, children);
        }
        timer.child_ = timer.next_ = timer.previous_ = nullptr;
    }

  private:
    /// Makes the later of two roots the first child of the other, which is returned. Of equals,
    /// `a` stays above.
    static Timer* link(Timer* a, Timer* b) {
        if (b->deadline_ < a->deadline_) {
            Timer* t = a;
            a = b;
            b = t;
        }
        b->previous_ = a;
        b->next_ = a->child_;
        if (b->next_) b->next_->previous_ = b;
        a->child_ = b;
        return a;
    }

    static void cut(Timer& timer) {
        if (timer.previous_->child_ == &timer)
            timer.previous_->child_ = timer.next_;
        else
            timer.previous_->next_ = timer.next_;
        if (timer.next_) timer.next_->previous_ = timer.previous_;
    }

    /// Makes one heap of a chain: neighbours are linked in pairs, then the pairs from the last to
    /// the first. That order is what the logarithmic bound rests on.
    static Timer* pair_up(Timer* chain) {
        Timer* pairs = nullptr;  // linked by next_, the last pair first
        while (chain) {
            Timer* a = chain;
            Timer* b = a->next_;
            chain = b ? b->next_ : nullptr;
            a->next_ = a->previous_ = nullptr;
            if (b) {
                b->next_ = b->previous_ = nullptr;
                a = link(a, b);
            }
            a->next_ = pairs;
            pairs = a;
        }
        Timer* root = nullptr;
        while (pairs) {
            Timer* pair = pairs;
            pairs = pair->next_;
            pair->next_ = nullptr;
            root = root ? link(pair, root) : pair;
        }
        return root;
    }

    Timer* root_ = nullptr;
};

}  // namespace hv
