#include "child.hpp"

#include "print.hpp"
#include "test.hpp"

extern "C" const unsigned char puppet_start[], puppet_upcall[], puppet_end[];

namespace guest {

namespace {

/// A domain that the running test has made and not yet destroyed, and what Domain 0 maps of it
/// (entries 0 to `mapped` of the window). Kept here as a failed check leaves the test at once.
struct Record {
    domid_t id;
    Window window;
    unsigned mapped;
};
Record records[16];
unsigned record_count;

Record& record_of(domid_t id) {
    for (unsigned i = 0; i < record_count; ++i)
        if (records[i].id == id) return records[i];
    fail("domain %u has no record", id);
}

/// A failed test leaves its domains behind; they must not disturb the next one.
void destroy_leftovers() {
    while (record_count) {
        Record& record = records[--record_count];
        for (unsigned i = 0; i < record.mapped; ++i) record.window.map(i, 0);
        mmuext(MMUEXT_TLB_FLUSH_LOCAL);
        xen_domctl_t op = domctl_of(XEN_DOMCTL_destroydomain, record.id);
        while (domctl(&op) == -kEAGAIN) {
        }
    }
}

}  // namespace

xen_sysctl_t sysctl_of(uint32_t cmd) {
    xen_sysctl_t op = {};
    op.cmd = cmd;
    op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    return op;
}

xen_domctl_t domctl_of(uint32_t cmd, domid_t domain) {
    xen_domctl_t op = {};
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = domain;
    return op;
}

uint64_t free_pages() {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_physinfo);
    CHECK_EQ(sysctl(&op), 0);
    return op.u.physinfo.free_pages;
}

uint64_t settled_free_pages() {
    uint64_t last = free_pages();
    for (uint64_t since = system_time(); system_time() - since < 30'000'000;) {
        sched_poll_t pause = {.nr_ports = 0, .timeout = system_time() + 1'000'000};
        sched_op(SCHEDOP_poll, &pause);
        const uint64_t now = free_pages();
        if (now != last) since = system_time();
        last = now;
    }
    return last;
}

void expect_free_pages(uint64_t wanted) {
    if (!wait_for([=] { return free_pages() == wanted; }))
        fail("%lu pages are free, not %lu", free_pages(), wanted);
}

domid_t create_domain() {
    xen_domctl_t op = domctl_of(XEN_DOMCTL_createdomain, 0);
    op.u.createdomain.max_vcpus = 1;
    op.u.createdomain.max_evtchn_port = 1023;
    op.u.createdomain.max_grant_frames = 4;
    op.u.createdomain.max_maptrack_frames = 4;
    op.u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(1);
    op.u.createdomain.handle[0] = 0x42;
    CHECK_EQ(domctl(&op), 0);
    after_failure = destroy_leftovers;
    if (record_count < 16) records[record_count++] = {.id = op.domain};
    return op.domain;
}

void destroy_domain(domid_t domain) {
    xen_domctl_t op = domctl_of(XEN_DOMCTL_destroydomain, domain);
    long rc;
    while ((rc = domctl(&op)) == -kEAGAIN) {
    }
    CHECK_EQ(rc, 0);
    for (unsigned i = 0; i < record_count; ++i)
        if (records[i].id == domain) records[i] = records[--record_count];
    xen_domctl_t info = domctl_of(XEN_DOMCTL_getdomaininfo, domain);
    CHECK(wait_for([&] { return domctl(&info) != 0 || info.domain != domain; }));
}

void set_max_memory(domid_t domain, uint64_t pages) {
    xen_domctl_t op = domctl_of(XEN_DOMCTL_max_mem, domain);
    op.u.max_mem.max_memkb = pages * 4;
    CHECK_EQ(domctl(&op), 0);
}

Child::Child() : id_(create_domain()), window_(open_window()) {
    record_of(id_).window = window_;
    xen_domctl_t vcpus = domctl_of(XEN_DOMCTL_max_vcpus, id_);
    vcpus.u.max_vcpus.max = 1;
    CHECK_EQ(domctl(&vcpus), 0);
    add_memory();
    write_tables();
    mailbox_ = static_cast<volatile Mailbox*>(map_frame(mfns_[kMailboxPage]));
    shared_ = static_cast<shared_info_t*>(map_frame(info().shared_info_frame));
    start();
}

void Child::add_memory() {
    set_max_memory(id_, kPages);
    for (unsigned i = 0; i < kPages; ++i) mfns_[i] = i;
    xen_memory_reservation_t r = {.nr_extents = kPages, .domid = id_};
    set_xen_guest_handle(r.extent_start, mfns_);
    CHECK_EQ(memory_op(XENMEM_populate_physmap, &r), kPages);
}

void* Child::map_frame(uint64_t mfn) {
    const unsigned index = record_of(id_).mapped++;
    mmu_update_t update = {machine_address(&window_.l1[index]), pte(mfn, kDataFlags)};
    CHECK_EQ(mmu_update(&update, 1, nullptr, id_), 0);
    return const_cast<uint64_t*>(window_.at(index));
}

uint64_t* Child::map(unsigned page) {
    return static_cast<uint64_t*>(map_frame(mfns_[page]));
}

/// Pages 0 to 3 become L4, L3, L2 and L1, page 4 the code; all are mapped, the tables read-only.
void Child::write_tables() {
    uint64_t* tables[4];
    for (unsigned i = 0; i < 4; ++i) tables[i] = map(i);
    auto* code = map(4);
    tables[0][511] = pte(mfns_[1], kTableFlags);
    tables[1][510] = pte(mfns_[2], kTableFlags);
    tables[2][0] = pte(mfns_[3], kTableFlags);
    for (unsigned i = 0; i < kPages; ++i)
        tables[3][i] = pte(mfns_[i], i < 4 ? kReadOnlyFlags : kDataFlags);
    tables[3][kSharedInfoPage] = pte(info().shared_info_frame, kDataFlags);
    memcpy(code, puppet_start, puppet_end - puppet_start);
    // A table cannot be one while Domain 0 can write to it.
    forget();
    mmuext_op_t op = {};
    op.cmd = MMUEXT_PIN_L4_TABLE;
    op.arg1.mfn = mfns_[0];
    CHECK_EQ(mmuext_op(&op, 1, nullptr, id_), 0);
}

void Child::start() {
    static vcpu_guest_context_t context;
    memset(&context, 0, sizeof context);
    context.flags = VGCF_IN_KERNEL | VGCF_online;
    context.user_regs.rip = va(4);
    context.user_regs.rbx = va(kMailboxPage);
    context.user_regs.rsp = va(7);
    context.user_regs.cs = FLAT_KERNEL_CS;
    context.user_regs.ss = FLAT_KERNEL_SS;
    context.user_regs.rflags = 0x1000;
    context.kernel_ss = FLAT_KERNEL_SS;
    context.kernel_sp = va(7);
    context.ctrlreg[3] = xen_pfn_to_cr3(mfns_[0]);
    xen_domctl_t op = domctl_of(XEN_DOMCTL_setvcpucontext, id_);
    set_xen_guest_handle(op.u.vcpucontext.ctxt, &context);
    CHECK_EQ(domctl(&op), 0);
    shared_->vcpu_info[0].evtchn_upcall_mask = 1;
    op = domctl_of(XEN_DOMCTL_unpausedomain, id_);
    CHECK_EQ(domctl(&op), 0);
}

void Child::order(unsigned number, Arg a1, Arg a2, Arg a3, Arg a4, Arg a5) {
    const Arg args[] = {a1, a2, a3, a4, a5};
    for (unsigned i = 0; i < 5; ++i) mailbox_->args[i] = args[i];
    mailbox_->call = number;
    mailbox_->request = mailbox_->request + 1;
}

long Child::call(unsigned number, Arg a1, Arg a2, Arg a3, Arg a4, Arg a5) {
    order(number, a1, a2, a3, a4, a5);
    if (!wait_for([this] { return mailbox_->done == mailbox_->request; }))
        fail("the second domain does not answer call %u, its flags are 0x%x", number, info().flags);
    return mailbox_->result;
}

void Child::echo_events(evtchn_port_t port) {
    const Arg entry = va(4) + static_cast<Arg>(puppet_upcall - puppet_start);
    CHECK_EQ(call(__HYPERVISOR_set_callbacks, entry, entry, entry), 0);
    scratch_as<evtchn_send_t>()->port = port;
    order(kEcho, va(kSharedInfoPage), scratch(0));
}

xen_domctl_getdomaininfo_t Child::info() const {
    xen_domctl_t op = domctl_of(XEN_DOMCTL_getdomaininfo, id_);
    CHECK_EQ(domctl(&op), 0);
    return op.u.getdomaininfo;
}

void Child::forget() {
    unsigned& mapped = record_of(id_).mapped;
    for (unsigned i = 0; i < mapped; ++i) {
        CHECK_EQ(window_.map(i, 0), 0);
        CHECK_EQ(mmuext(MMUEXT_INVLPG_LOCAL, window_.va(i)), 0);
    }
    mapped = 0;
}

void Child::destroy() {
    forget();
    destroy_domain(id_);
}

}  // namespace guest
