// Two vCPUs at once: Domain 0's two, and one of Domain 0 beside one of a second domain. Each test
// prints lines "SMP place operation phase vcpu n n n ...", the operations in 20 windows of 2 ms:
// phase "alone" while the other vCPU's processor idles, "both" while it does the same. bench/smp.py
// reads them; the rows are measured by wall time.
#include "child.hpp"
#include "events.hpp"
#include "print.hpp"
#include "test.hpp"
#include "worker.hpp"

namespace guest {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr unsigned kCopied = 64;  // bytes of one grant copy

/// What a vCPU may use: a page for arguments, page-table entries, a frame, a grant.
struct Side {
    domid_t id;
    Work* work;                         ///< as Domain 0 sees it
    uint8_t* arguments;                 ///< a page, as Domain 0 sees it
    Arg arguments_there;                ///< and where the vCPU runs
    Arg window;                         ///< the vCPU's addresses that these entries map:
    uint64_t window_entry;              ///< machine address of the first of 16
    uint64_t frame;                     ///< one of its own, which it grants to the other side
    uint64_t target;                    ///< another
    volatile grant_entry_v1_t* grants;  ///< its domain's, as Domain 0 sees them
    unsigned ref;
    Port port, peer_port;  ///< of its own: sending to `port` marks `peer_port`
    Arg shared_info;       ///< where the vCPU runs

    template <typename T>
    T* argument(unsigned offset) const {
        return reinterpret_cast<T*>(arguments + offset);
    }
    Arg there(unsigned offset) const { return arguments_there + offset; }
};

/// Two of them, and how the second one is set to work.
struct Pair {
    const char* place;
    Side sides[2];
    void (*begin)(Pair&);  ///< has sides[1] work
    void (*end)(Pair&);    ///< its processor idles again
};

void sleep(uint64_t ns) {
    sched_poll_t pause = {.nr_ports = 0, .timeout = system_time() + ns};
    sched_op(SCHEDOP_poll, &pause);
}

/// Of the TSC, for less than four seconds.
uint64_t ticks_of(uint64_t ns) {
    const auto& time = vcpu_info().time;
    const uint64_t ticks = (ns << 32) / time.tsc_to_system_mul;
    return time.tsc_shift < 0 ? ticks << -time.tsc_shift : ticks >> time.tsc_shift;
}

void allow(const Side& side, const Side& peer) {
    side.grants[side.ref].frame = static_cast<uint32_t>(side.frame);
    side.grants[side.ref].domid = peer.id;
    compiler_barrier();
    side.grants[side.ref].flags = GTF_permit_access;
}

// The operations.

void null_hypercall(const Side& side, const Side&) {
    side.work->calls[0] = {__HYPERVISOR_xen_version, {XENVER_version}, 4 << 16 | 17};
}

void send(const Side& side, const Side&) {
    side.argument<evtchn_send_t>(0)->port = side.port;
    side.work->calls[0] = {__HYPERVISOR_event_channel_op, {EVTCHNOP_send, side.there(0)}};
    const Arg words = side.shared_info + offsetof(shared_info_t, evtchn_pending);
    side.work->cleared = reinterpret_cast<uint64_t*>(words + side.peer_port / 64 * 8);
    side.work->bit = side.peer_port % 64;
}

void map_unmap(const Side& side, const Side& peer) {
    using Map = gnttab_map_grant_ref_t;
    using Unmap = gnttab_unmap_grant_ref_t;
    constexpr unsigned kUnmap = 128;
    *side.argument<Map>(0) = {
        .host_addr = side.window, .flags = GNTMAP_host_map, .ref = peer.ref, .dom = peer.id};
    *side.argument<Unmap>(kUnmap) = {.host_addr = side.window};
    Work& work = *side.work;
    work.count = 2;
    work.batch = 1;
    work.calls[0] = {__HYPERVISOR_grant_table_op, {GNTTABOP_map_grant_ref, side.there(0), 1}};
    work.calls[1] = {__HYPERVISOR_grant_table_op,
                     {GNTTABOP_unmap_grant_ref, side.there(kUnmap), 1}};
    work.handle = reinterpret_cast<uint32_t*>(side.there(offsetof(Map, handle)));
    work.next_handle = reinterpret_cast<uint32_t*>(side.there(kUnmap + offsetof(Unmap, handle)));
    work.status[0] = reinterpret_cast<int16_t*>(side.there(offsetof(Map, status)));
    work.status[1] = reinterpret_cast<int16_t*>(side.there(kUnmap + offsetof(Unmap, status)));
}

void copy(const Side& side, const Side& peer) {
    auto& op = *side.argument<gnttab_copy_t>(0);
    op = {};
    op.source.u.ref = peer.ref;
    op.source.domid = peer.id;
    op.dest.u.gmfn = side.target;
    op.dest.domid = DOMID_SELF;
    op.len = kCopied;
    op.flags = GNTCOPY_source_gref;
    side.work->calls[0] = {__HYPERVISOR_grant_table_op, {GNTTABOP_copy, side.there(0), 1}};
    side.work->status[0] = reinterpret_cast<int16_t*>(side.there(offsetof(gnttab_copy_t, status)));
}

void update_tables(const Side& side, const Side&) {
    auto* list = side.argument<mmu_update_t>(0);
    list[0] = {side.window_entry + 8, pte(side.target, kDataFlags)};
    list[1] = {side.window_entry + 8, 0};
    side.work->calls[0] = {__HYPERVISOR_mmu_update, {side.there(0), 2, 0, DOMID_SELF}};
}

void update_mapping(const Side& side, const Side&) {
    const Arg va = side.window + 2 * kPageSize;
    side.work->count = 2;
    side.work->calls[0] = {__HYPERVISOR_update_va_mapping, {va, pte(side.target, kDataFlags), 0}};
    side.work->calls[1] = {__HYPERVISOR_update_va_mapping, {va, 0, 0}};
}

struct Operation {
    const char* name;
    void (*prepare)(const Side& side, const Side& peer);
};
constexpr Operation kOperations[] = {
    {"null_hypercall", null_hypercall}, {"evtchn_send", send},
    {"grant_map_unmap", map_unmap},     {"grant_copy", copy},
    {"mmu_update", update_tables},      {"update_va_mapping", update_mapping},
};

// The phases.

void report(const Pair& pair, const char* operation, const char* phase, unsigned vcpu) {
    const Work& work = *pair.sides[vcpu].work;
    if (work.failed) fail("%s, %s: answered %ld", operation, phase, work.wrong);
    for (unsigned first = 0; first < kWindows; first += 20) {
        const volatile uint32_t* n = &work.done[first];
        print("SMP %s %s %s %u %u %u %u %u %u %u %u %u %u %u %u %u %u %u %u %u %u %u %u %u\n",
              pair.place, operation, phase, vcpu, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7],
              n[8], n[9], n[10], n[11], n[12], n[13], n[14], n[15], n[16], n[17], n[18], n[19]);
    }
}

void run_phase(Pair& pair, bool first, bool second) {
    const uint64_t start = rdtsc() + ticks_of(5 * kMillisecond);
    for (Side& side : pair.sides) {
        side.work->start = start;
        side.work->window = ticks_of(2 * kMillisecond);
        for (volatile uint32_t& n : side.work->done) n = 0;
    }
    Work& other = *pair.sides[1].work;
    if (second) {
        other.ordered = other.ordered + 1;
        pair.begin(pair);
    }
    if (first) work_once(*pair.sides[0].work);
    while (second && other.finished != other.ordered && !other.failed) sleep(5 * kMillisecond);
    if (second) pair.end(pair);
}

void measure(Pair& pair) {
    allow(pair.sides[0], pair.sides[1]);
    allow(pair.sides[1], pair.sides[0]);
    for (const Operation& operation : kOperations) {
        for (unsigned i = 0; i < 2; ++i) {
            *pair.sides[i].work = {.count = 1, .batch = 16};
            operation.prepare(pair.sides[i], pair.sides[1 - i]);
        }
        run_phase(pair, true, false);
        report(pair, operation.name, "alone", 0);
        run_phase(pair, false, true);
        report(pair, operation.name, "alone", 1);
        run_phase(pair, true, true);
        report(pair, operation.name, "both", 0);
        report(pair, operation.name, "both", 1);
    }
}

// Where the sides come from.

volatile grant_entry_v1_t* own_grants() {
    static volatile grant_entry_v1_t* entries;
    if (entries) return entries;
    xen_pfn_t frames[1] = {};
    gnttab_setup_table_t setup = {.dom = DOMID_SELF, .nr_frames = 1};
    set_xen_guest_handle(setup.frame_list, frames);
    CHECK_EQ(grant_table_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_EQ(setup.status, GNTST_okay);
    const Window window = open_window();
    CHECK_EQ(window.map(0, pte(frames[0], kDataFlags)), 0);
    return entries = reinterpret_cast<volatile grant_entry_v1_t*>(window.va(0));
}

Side side_of_domain_0(unsigned vcpu) {
    Side side = {};
    side.work = alloc_page_as<Work>();
    side.arguments = alloc_page_as<uint8_t>();
    side.arguments_there = addr(side.arguments);
    const Window window = open_window();
    side.window = window.va(0);
    side.window_entry = machine_address(window.l1);
    side.frame = mfn_of(alloc_page());
    side.target = mfn_of(alloc_page());
    side.grants = own_grants();
    side.ref = 8 + vcpu;
    side.port = alloc_unbound();
    side.peer_port = bind_interdomain(side.port);
    evtchn_bind_vcpu_t bind = {.port = side.peer_port, .vcpu = vcpu};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_vcpu, &bind), 0);
    side.shared_info = addr(&shared_info());
    return side;
}

void set_paused(domid_t domain, bool paused) {
    xen_domctl_t op = domctl_of(paused ? XEN_DOMCTL_pausedomain : XEN_DOMCTL_unpausedomain, domain);
    CHECK_EQ(domctl(&op), 0);
}

/// Pages of the child beyond those that Child itself uses.
enum ChildPage : unsigned { kCode = Child::kFirstFree, kWork, kArguments, kFrame, kTarget };
constexpr unsigned kChildWindow = 64;  // its entries there are free

void pin_to_second_cpu(const Child& child) {
    uint8_t map[8] = {2};
    xen_domctl_t op = domctl_of(XEN_DOMCTL_setvcpuaffinity, child.id());
    op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
    op.u.vcpuaffinity.cpumap_hard.nr_bits = 64;
    set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, map);
    CHECK_EQ(domctl(&op), 0);
}

volatile grant_entry_v1_t* grants_of(const Child& child, const Window& window) {
    xen_pfn_t frames[1] = {};
    xen_mem_acquire_resource_t resource = {.domid = child.id(),
                                           .type = XENMEM_resource_grant_table,
                                           .id = XENMEM_resource_grant_table_id_shared,
                                           .nr_frames = 1};
    set_xen_guest_handle(resource.frame_list, frames);
    CHECK_EQ(memory_op(XENMEM_acquire_resource, &resource), 0);
    mmu_update_t update = {machine_address(&window.l1[0]), pte(frames[0], kDataFlags)};
    CHECK_EQ(mmu_update(&update, 1, nullptr, child.id()), 0);
    return reinterpret_cast<volatile grant_entry_v1_t*>(window.va(0));
}

Side side_of_child(Child& child, const Window& window) {
    Side side = {.id = child.id()};
    memcpy(child.map(kCode), reinterpret_cast<const void*>(work_for_ever), kPageSize);
    side.work = reinterpret_cast<Work*>(child.map(kWork));
    memset(side.work, 0, kPageSize);
    side.arguments = reinterpret_cast<uint8_t*>(child.map(kArguments));
    side.arguments_there = Child::va(kArguments);
    side.window = Child::va(kChildWindow);
    side.window_entry = child.mfn(3) * kPageSize + kChildWindow * 8;
    side.frame = child.mfn(kFrame);
    side.target = child.mfn(kTarget);
    side.grants = grants_of(child, window);
    side.ref = 8;
    evtchn_alloc_unbound_t alloc = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF};
    CHECK_EQ(child.call_with(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, alloc), 0);
    evtchn_bind_interdomain_t bind = {.remote_dom = DOMID_SELF, .remote_port = alloc.port};
    CHECK_EQ(child.call_with(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, bind), 0);
    side.port = alloc.port;
    side.peer_port = bind.local_port;
    side.shared_info = Child::va(Child::kSharedInfoPage);
    return side;
}

}  // namespace

TEST(smp_one_domain, "two vCPUs of Domain 0", "") {
    static Pair pair;
    pair = {.place = "one_domain", .sides = {side_of_domain_0(0), side_of_domain_0(1)}};
    pair.begin = [](Pair&) {
        start_second_vcpu([] {
            Work& work = *pair.sides[1].work;
            work_once(work);
            work.finished = work.ordered;
        });
    };
    pair.end = [](Pair&) {};
    measure(pair);
}

TEST(smp_two_domains, "a vCPU of Domain 0, and one of a second domain", "") {
    Child child;
    pin_to_second_cpu(child);
    const Window window = open_window();
    Pair pair = {.place = "two_domains",
                 .sides = {side_of_domain_0(0), side_of_child(child, window)}};
    child.order(kJump, Child::va(kCode), Child::va(kWork));
    pair.begin = [](Pair& p) { set_paused(p.sides[1].id, false); };
    pair.end = [](Pair& p) { set_paused(p.sides[1].id, true); };
    pair.end(pair);
    measure(pair);
    CHECK_EQ(window.map(0, 0), 0);
    child.destroy();
}

}  // namespace guest
