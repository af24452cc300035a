// Two vCPUs at once: Domain 0's two, and one of Domain 0 beside one of a second domain. Each test
// prints lines "SMP place operation turn phase vcpu n n n ...", the operations in windows of 2 ms:
// phase "alone" while the other vCPU calls nothing, "both" while it does the same. It does not idle
// in either: then a hypervisor that interrupts it (a flush) would pay for waking a processor in one
// phase and not in the other. Phases are short and come by turns, so that the machine is as fast in
// one as in the next. bench/smp.py reads the lines; the rows are measured by wall time.
#include <initializer_list>

#include "child.hpp"
#include "events.hpp"
#include "grants.hpp"
#include "print.hpp"
#include "test.hpp"
#include "worker.hpp"

namespace guest {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr unsigned kCopied = 64;  // bytes of one grant copy
constexpr unsigned kMapped = 64;  // entries in use of a table that is pinned
constexpr unsigned kTurns = 12;

/// Tables that nobody has loaded, one of each level, as a process's that is made or ends.
struct Tree {
    uint64_t l1, l4;  ///< MFNs
};

/// What a vCPU may use: a page for arguments, page-table entries, a frame, a grant.
struct Side {
    domid_t id;
    Work* work;             ///< as Domain 0 sees it
    uint8_t* arguments;     ///< a page, as Domain 0 sees it
    Arg arguments_there;    ///< and where the vCPU runs
    Arg window;             ///< the vCPU's addresses that these entries map:
    uint64_t window_entry;  ///< machine address of the first of 16
    uint64_t frame;         ///< one of its own, which it grants to the other side
    uint64_t target;        ///< another
    Tree tree;
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
    void (*begin)();  ///< has sides[1] work
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

/// What is done to tables by operations of mmuext_op.
void extended(const Side& side, std::initializer_list<mmuext_op_t> operations) {
    auto* list = side.argument<mmuext_op_t>(0);
    unsigned count = 0;
    for (const mmuext_op_t& operation : operations) list[count++] = operation;
    side.work->calls[0] = {__HYPERVISOR_mmuext_op, {side.there(0), count, 0, DOMID_SELF}};
    side.work->batch = 1;
}

mmuext_op_t about(unsigned command, uint64_t mfn) {
    mmuext_op_t op = {};
    op.cmd = command;
    op.arg1.mfn = mfn;
    return op;
}

void pin_leaf_table(const Side& side, const Side&) {
    const uint64_t l1 = side.tree.l1;
    extended(side, {about(MMUEXT_PIN_L1_TABLE, l1), about(MMUEXT_UNPIN_TABLE, l1)});
}

/// In the order of Linux, which pins the last level by itself.
void pin_tree(const Side& side, const Side&) {
    const auto [l1, l4] = side.tree;
    extended(side, {about(MMUEXT_PIN_L1_TABLE, l1), about(MMUEXT_PIN_L4_TABLE, l4),
                    about(MMUEXT_UNPIN_TABLE, l4), about(MMUEXT_UNPIN_TABLE, l1)});
}

struct Operation {
    const char* name;
    void (*prepare)(const Side& side, const Side& peer);
};
constexpr Operation kOperations[] = {
    {"null_hypercall", null_hypercall}, {"evtchn_send", send},
    {"grant_map_unmap", map_unmap},     {"grant_copy", copy},
    {"mmu_update", update_tables},      {"update_va_mapping", update_mapping},
    {"pin_leaf_table", pin_leaf_table}, {"pin_tree", pin_tree},
};

// The phases.

void report(const Pair& pair, const char* operation, unsigned turn, const char* phase,
            unsigned vcpu) {
    const Work& work = *pair.sides[vcpu].work;
    if (work.failed) fail("%s, %s: answered %ld", operation, phase, work.wrong);
    static_assert(kWindows == 10);
    const volatile uint32_t* n = work.done;
    print("SMP %s %s %u %s %u %u %u %u %u %u %u %u %u %u %u\n", pair.place, operation, turn, phase,
          vcpu, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9]);
}

/// Sets a vCPU's work; no operation: it looks at the time and does nothing.
void set_work(Pair& pair, unsigned vcpu, const Operation* operation) {
    const Side& side = pair.sides[vcpu];
    *side.work = {.batch = 16};
    if (!operation) return;
    side.work->count = 1;
    operation->prepare(side, pair.sides[1 - vcpu]);
}

void run_phase(Pair& pair) {
    const uint64_t start = rdtsc() + ticks_of(5 * kMillisecond);
    for (Side& side : pair.sides) {
        side.work->start = start;
        side.work->window = ticks_of(2 * kMillisecond);
    }
    Work& other = *pair.sides[1].work;
    other.ordered = other.ordered + 1;
    pair.begin();
    work_once(*pair.sides[0].work);
    while (other.finished != other.ordered && !other.failed) sleep(kMillisecond);
}

/// Each vCPU alone, then both.
void measure_turn(Pair& pair, const Operation& operation, unsigned turn) {
    for (unsigned alone = 0; alone < 2; ++alone) {
        for (unsigned i = 0; i < 2; ++i) set_work(pair, i, i == alone ? &operation : nullptr);
        run_phase(pair);
        report(pair, operation.name, turn, "alone", alone);
    }
    for (unsigned i = 0; i < 2; ++i) set_work(pair, i, &operation);
    run_phase(pair);
    for (unsigned i = 0; i < 2; ++i) report(pair, operation.name, turn, "both", i);
}

void measure(Pair& pair) {
    for (unsigned i = 0; i < 2; ++i) {
        const Side& side = pair.sides[i];
        allow(side.grants[side.ref], side.frame, pair.sides[1 - i].id);
    }
    for (const Operation& operation : kOperations)
        for (unsigned turn = 0; turn < kTurns; ++turn) measure_turn(pair, operation, turn);
}

// Where the sides come from.

/// References this far apart have nothing in one cache line, neither what the guest writes nor what
/// the hypervisor notes; and frames this far apart have not their structs in one.
constexpr unsigned kApart = 8;
/// The same for ports: 512 bits of evtchn_pending are a line.
constexpr unsigned kPortsApart = 512;

/// What stands in the table of `level`: the one below in slot 1, or mappings of a frame.
void fill_table(volatile uint64_t* table, unsigned level, uint64_t mfn) {
    if (level > 1) table[1] = pte(mfn, kTableFlags);
    for (unsigned i = 0; level == 1 && i < kMapped; ++i) table[i] = pte(mfn, kDataFlags);
}

Tree tree_of_domain_0(uint64_t frame) {
    uint64_t mfns[5] = {frame};
    for (unsigned level = 1; level <= 4; ++level) {
        // Their structs in a cache line of their own, as above.
        auto* table = static_cast<uint64_t*>(alloc_pages(kApart));
        fill_table(table, level, mfns[level - 1]);
        make_read_only(table);
        mfns[level] = mfn_of(table);
    }
    return {mfns[1], mfns[4]};
}

Side side_of_domain_0(unsigned vcpu) {
    Side side = {};
    // The frame that the other side uses, away from those that this one does.
    side.frame = mfn_of(static_cast<uint8_t*>(alloc_pages(2 * kApart)) + kApart * kPageSize);
    side.work = alloc_page_as<Work>();
    side.arguments = alloc_page_as<uint8_t>();
    side.arguments_there = addr(side.arguments);
    const Window window = open_window();
    side.window = window.va(0);
    side.window_entry = machine_address(window.l1);
    side.target = mfn_of(alloc_page());
    side.tree = tree_of_domain_0(side.target);
    side.grants = own_grants();
    side.ref = kApart * (1 + vcpu);
    for (unsigned i = 0; i < kPortsApart; ++i) side.port = alloc_unbound();
    side.peer_port = bind_interdomain(side.port);
    evtchn_bind_vcpu_t bind = {.port = side.peer_port, .vcpu = vcpu};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_vcpu, &bind), 0);
    side.shared_info = addr(&shared_info());
    return side;
}

/// Pages of the child beyond those that Child itself uses.
enum ChildPage : unsigned {
    kCode = Child::kFirstFree,
    kWork,
    kArguments,
    kTarget,
    kFrame = kTarget + kApart,
    kTree,  ///< four, from L1 up
};
static_assert(kTree + 4 <= Child::kPages);
constexpr unsigned kChildWindow = 64;  // its entries there are free

void pin_to_second_cpu(const Child& child) {
    uint8_t map[8] = {2};
    xen_domctl_t op = domctl_of(XEN_DOMCTL_setvcpuaffinity, child.id());
    op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
    op.u.vcpuaffinity.cpumap_hard.nr_bits = 64;
    set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, map);
    CHECK_EQ(domctl(&op), 0);
}

/// Entry `index` of `window` maps the tables while they are written.
Tree tree_of_child(const Child& child, const Window& window, unsigned index) {
    const domid_t id = child.id();
    for (unsigned level = 1; level <= 4; ++level) {
        const unsigned page = kTree + level - 1;
        mmu_update_t map = {machine_address(&window.l1[index]), pte(child.mfn(page), kDataFlags)};
        CHECK_EQ(mmu_update(&map, 1, nullptr, id), 0);
        volatile uint64_t* table = window.at(index);
        for (unsigned i = 0; i < kPageSize / sizeof *table; ++i) table[i] = 0;
        fill_table(table, level, child.mfn(level == 1 ? kTarget : page - 1));
        CHECK_EQ(window.map(index, 0), 0);
        CHECK_EQ(mmuext(MMUEXT_INVLPG_LOCAL, window.va(index)), 0);
        // The child itself may only read it.
        mmu_update_t own = {child.mfn(3) * kPageSize + page * 8,
                            pte(child.mfn(page), kReadOnlyFlags)};
        CHECK_EQ(mmu_update(&own, 1, nullptr, (id + 1u) << 16 | id), 0);
    }
    return {child.mfn(kTree), child.mfn(kTree + 3)};
}

/// Stock emulates a guest's rdtsc on this processor, else, and the child looks at it all the time.
void read_tsc_natively(const Child& child) {
    xen_domctl_t op = domctl_of(XEN_DOMCTL_settscinfo, child.id());
    op.u.tsc_info.tsc_mode = 2;  // TSC_MODE_NEVER_EMULATE, of a header that is not public
    CHECK_EQ(domctl(&op), 0);
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
    side.tree = tree_of_child(child, window, 1);
    side.grants = grants_of(child, window, 0);
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
    pair.begin = [] {
        start_second_vcpu([] {
            Work& work = *pair.sides[1].work;
            work_once(work);
            work.finished = work.ordered;
        });
    };
    measure(pair);
}

TEST(smp_two_domains, "a vCPU of Domain 0, and one of a second domain", "") {
    Child child;
    pin_to_second_cpu(child);
    read_tsc_natively(child);
    const Window window = open_window();
    Pair pair = {.place = "two_domains",
                 .sides = {side_of_domain_0(0), side_of_child(child, window)}};
    child.order(kJump, Child::va(kCode), Child::va(kWork));
    pair.begin = [] {};  // it looks for work all the time
    measure(pair);
    CHECK_EQ(window.map(0, 0), 0);
    child.destroy();
}

}  // namespace guest
