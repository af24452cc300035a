// One operation over and over, on one vCPU, counted by windows of time. The same code runs in both
// domains: it takes everything from a Work, which says what, when and where.
#pragma once

#include "memory.hpp"
#include "xen.hpp"

namespace guest {

constexpr unsigned kWindows = 10;  // of 2 ms each: what a phase takes

/// What a vCPU does, and what came of it. Pointers are addresses where that vCPU runs.
struct Work {
    struct Call {
        uint64_t number, args[4];
        long expected;
    };
    Call calls[2];               ///< of one operation, in turn
    uint64_t count;              ///< how many of them
    volatile uint64_t* cleared;  ///< before each operation `bit` is cleared there
    uint64_t bit;
    const volatile uint32_t* handle;    ///< after the first call this
    volatile uint32_t* next_handle;     ///< goes there: a grant's handle, for its unmapping
    const volatile int16_t* status[2];  ///< must be 0 after each operation

    unsigned batch;          ///< how many operations between two looks at the time
    uint64_t start, window;  ///< ticks of the TSC: when the first window opens; how long one is
    volatile uint32_t done[kWindows];  ///< operations in each window
    volatile bool failed;
    volatile long wrong;                  ///< what a call answered that should not have
    volatile uint64_t ordered, finished;  ///< how often work was asked for, and done
};
static_assert(sizeof(Work) <= kPageSize);

/// Waits for the first window, and works until the last is over.
void work_once(Work& work);
/// Works whenever `ordered` is ahead of `finished`; yields otherwise. Lies alone at the start of a
/// page and refers to nothing but its second argument, so that another domain can run a copy.
[[noreturn]] void work_for_ever(uint64_t, Work* work);

}  // namespace guest
