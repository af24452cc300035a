// Guests that only are there, quietly or not.
#include "events.hpp"
#include "memory.hpp"
#include "platform.hpp"
#include "test.hpp"

namespace guest {

TEST(tick, "wakes up ten times a second and uses enough time for the tools to show it", "") {
    for (;;) {
        const uint64_t until = system_time() + 2'000'000;
        while (system_time() < until) continue;
        sched_poll_t poll = {.timeout = system_time() + 100'000'000};
        set_xen_guest_handle(poll.ports, static_cast<evtchn_port_t*>(nullptr));
        sched_op(SCHEDOP_poll, &poll);
    }
}

TEST(spin, "spins with events masked and never calls the hypervisor", "") {
    vcpu_info().evtchn_upcall_mask = 1;
    for (;;) asm volatile("");
}

TEST(no_tables, "unpins its page tables and clears them from the top", "") {
    // Pinned by who built it, as L4 or not at all; CR3 holds it either way.
    mmuext(MMUEXT_UNPIN_TABLE, mfn_of(boot_l4()));
    for (unsigned slot = 0; slot < 512; ++slot) write_entry(&boot_l4()[slot], 0);
    for (;;) {  // not reached: the entry that maps this is gone
    }
}

}  // namespace guest
