// The debug build's check that locks are taken in rank order, and dropped again.
#include "arch/cpu.hpp"
#include "base/lock.hpp"
#include "hv/console/log.hpp"
#include "hv/limits.hpp"

namespace base {
namespace {

struct Held {
    uint8_t ranks[16];
    uint8_t count;
};
hv::PerCpu<Held> held;

}  // namespace

void note_lock_taken(uint8_t rank) {
    Held& h = held.on(hv::arch::this_cpu());
    if (h.count && h.ranks[h.count - 1] > rank)
        hv::panic("broken invariant: lock of rank {} taken under rank {}", rank,
                  h.ranks[h.count - 1]);
    hv::invariant(h.count < sizeof h.ranks, "too many locks held at once");
    h.ranks[h.count++] = rank;
}

void note_lock_dropped(uint8_t rank) {
    Held& h = held.on(hv::arch::this_cpu());
    for (unsigned i = h.count; i-- > 0;) {
        if (h.ranks[i] != rank) continue;
        for (; i + 1 < h.count; ++i) h.ranks[i] = h.ranks[i + 1];
        --h.count;
        return;
    }
    hv::panic("broken invariant: a lock of rank {} dropped that was not held", rank);
}

}  // namespace base
