// A front-end that lies: it has granted Domain 0's back-ends a disk's ring, and both rings of a
// NIC, as blkfront and netfront do, and writes into them what it likes: indices that run ahead,
// requests of kinds that there are not, for sectors beyond the disk, with pages that are not
// granted, or change while they are looked at. Who starts it tells the back-ends through xenstore
// (deaths.py): references 8 (disk), 9 and 10 (NIC: transmit, receive), ports 3 and 4.
#include "events.hpp"
#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"

namespace guest {

namespace {

constexpr grant_ref_t kFirstRef = 8;
constexpr unsigned kPages = 16;  // three rings, and what requests name
constexpr unsigned kRingBytes = 4096, kHeaderBytes = 64;
constexpr Port kDiskPort = 3, kNicPort = 4;

uint64_t random_state = 1;
uint64_t random() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

void grant_pages(uint8_t* pages) {
    xen_pfn_t frame = 0;
    gnttab_setup_table_t setup = {.dom = DOMID_SELF, .nr_frames = 1};
    set_xen_guest_handle(setup.frame_list, &frame);
    CHECK_EQ(grant_table_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_EQ(setup.status, GNTST_okay);
    const Window window = open_window();
    CHECK_EQ(window.map(0, pte(frame, kDataFlags)), 0);
    auto* table = reinterpret_cast<volatile grant_entry_v1_t*>(window.va(0));
    for (unsigned i = 0; i < kPages; ++i) {
        table[kFirstRef + i].domid = 0;
        table[kFirstRef + i].frame = static_cast<uint32_t>(mfn_of(pages + i * kPageSize));
        compiler_barrier();
        table[kFirstRef + i].flags = GTF_permit_access;
    }
}

/// A value as it may stand in a request: a kind, a count, a granted page or none, a sector.
uint64_t lie() {
    switch (random() % 5) {
        case 0:
            return random() % 16;
        case 1:
            return kFirstRef + random() % (kPages + 4);
        case 2:
            return random() % 4096;
        case 3:
            return (kFirstRef + random() % kPages) | random() << 32;
        default:
            return random();
    }
}

/// Requests without sense, and a producer's index that mostly is possible.
void spoil(uint8_t* ring) {
    for (unsigned n = 0; n < 40; ++n) {
        const uint64_t at = kHeaderBytes + random() % (kRingBytes - kHeaderBytes - 8);
        const uint64_t value = lie();
        memcpy(ring + (at & ~(random() & 1 ? 7 : 0)), &value, random() & 1 ? 8 : 1);
    }
    auto* producer = reinterpret_cast<volatile uint32_t*>(ring);
    const bool possible = random() % 512;  // an impossible index ends it for good
    *producer = !possible ? static_cast<uint32_t>(random()) : *producer + random() % 8;
}

/// The back-end binds the port when it has taken the ring, and it takes none that is spoilt
/// already.
bool is_taken(Port port) {
    return port_status(port).status == EVTCHNSTAT_interdomain;
}

}  // namespace

TEST(liar, "writes nonsense into the rings that it shares with Domain 0", "") {
    auto* pages = static_cast<uint8_t*>(alloc_pages(kPages));
    grant_pages(pages);
    CHECK_EQ(alloc_unbound(0), kDiskPort);
    CHECK_EQ(alloc_unbound(0), kNicPort);
    vcpu_info().evtchn_upcall_mask = 1;
    random_state = system_time() | 1;
    for (;;) {
        if (is_taken(kDiskPort)) {
            spoil(pages);
            send_event(kDiskPort);
        }
        if (is_taken(kNicPort)) {
            spoil(pages + kPageSize);
            spoil(pages + 2 * kPageSize);
            send_event(kNicPort);
        }
        sched_poll_t poll = {.timeout = system_time() + 2'000'000};
        set_xen_guest_handle(poll.ports, static_cast<evtchn_port_t*>(nullptr));
        sched_op(SCHEDOP_poll, &poll);
    }
}

}  // namespace guest
