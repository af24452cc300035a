// What it costs to have another domain: a turn of its vCPU, an event there and back, its memory.
#include "child.hpp"
#include "events.hpp"
#include "measure.hpp"
#include "platform.hpp"
#include "traps.hpp"

extern "C" {
uint32_t time_event_round(const evtchn_send_t* send);
extern const unsigned char event_round_entry[];
}

namespace guest {

TEST(vcpu_switch, "to the vCPU of another domain and back, by SCHEDOP_yield on both sides", "") {
    static volatile Mailbox* mailbox;
    Child child;
    mailbox = &child.mailbox();
    // A scheduler need not heed every yield: only those count that the child had one turn for.
    report("vcpu_switch", net([] {
               for (unsigned i = 0;; ++i) {
                   if (i == 1000) fail("the other domain never has just one turn");
                   const uint64_t turns = mailbox->turns;
                   const uint32_t ticks =
                       time_hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield, 0, 0, 0);
                   if (mailbox->turns == turns + 1) return ticks;
               }
           }),
           0, 2);
    child.destroy();
}

TEST(event_round, "an event to another domain, which sends one back from its upcall, to ours", "") {
    Child child;
    static evtchn_send_t send;
    send.port = alloc_unbound(child.id());
    evtchn_bind_interdomain_t bind = {.remote_dom = 0, .remote_port = send.port};
    CHECK_EQ(child.call_with(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, bind), 0);
    child.echo_events(bind.local_port);
    const Arg entry = addr(event_round_entry);
    CHECK_EQ(hypercall(__HYPERVISOR_set_callbacks, entry, entry, entry), 0);
    set_masked(send.port, false);
    report("event_round", net([] {
               clear_pending(send.port);
               return time_event_round(&send);
           }));
    reset_traps();
    clear_pending(send.port);
    child.destroy();
}

/// Pages that are gone when there is a domain of that many, beyond those.
uint64_t kept_for_guest(xen_pfn_t* frames, unsigned pages) {
    const uint64_t before = settled_free_pages();
    const domid_t domain = create_domain();
    xen_domctl_t vcpus = domctl_of(XEN_DOMCTL_max_vcpus, domain);
    vcpus.u.max_vcpus.max = 1;
    CHECK_EQ(domctl(&vcpus), 0);
    set_max_memory(domain, pages);
    for (unsigned i = 0; i < pages; ++i) frames[i] = i;
    xen_memory_reservation_t all = {.nr_extents = pages, .domid = domain};
    set_xen_guest_handle(all.extent_start, frames);
    CHECK_EQ(memory_op(XENMEM_populate_physmap, &all), static_cast<long>(pages));
    const uint64_t kept = before - settled_free_pages() - pages;
    destroy_domain(domain);
    return kept;
}

TEST(guest_memory, "memory kept for a guest of 64 MiB with one vCPU, beyond its own", "") {
    constexpr unsigned kPages = 64 * 256;
    static xen_pfn_t frames[kPages];
    kept_for_guest(frames, kPages);  // what is filled in once for all guests is not this one's
    const uint64_t kib = kept_for_guest(frames, kPages) * (kPageSize / 1024);
    print("BENCH memory_guest %lu %lu 1\n", kib, kib);
}

}  // namespace guest
