// Trace buffers (XEN_SYSCTL_tbuf_op): set up, mapped as DOMID_XEN's, filled, and refused.
#include "child.hpp"
#include "events.hpp"
#include "memory.hpp"
#include "print.hpp"
#include "test.hpp"

#include <xen/trace.h>

namespace guest {
namespace {

long tbuf(uint32_t cmd, uint32_t value = 0) {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_tbuf_op);
    op.u.tbuf_op.cmd = cmd;
    op.u.tbuf_op.size = value;
    op.u.tbuf_op.evt_mask = value;
    return sysctl(&op);
}

xen_sysctl_tbuf_op tbuf_info() {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_tbuf_op);
    op.u.tbuf_op.cmd = XEN_SYSCTL_TBUFOP_get_info;
    CHECK_EQ(sysctl(&op), 0);
    return op.u.tbuf_op;
}

/// Puts a frame of the hypervisor's at the address of a page of ours.
long map_xen(const void* at, uint64_t mfn, uint64_t flags) {
    return hypercall(__HYPERVISOR_update_va_mapping_otherdomain, addr(at), pte(mfn, flags),
                     UVMF_INVLPG, DOMID_XEN);
}

/// The frames of a buffer, one beside the other.
struct Mapped {
    static constexpr unsigned kPages = 2;
    char* at;
    uint64_t own[kPages];

    uint64_t data_bytes() const { return kPages * kPageSize - sizeof(t_buf); }
    volatile t_buf& header() const { return *reinterpret_cast<volatile t_buf*>(at); }
    uint32_t word(uint64_t offset) const {
        return *reinterpret_cast<volatile uint32_t*>(at + sizeof(t_buf) + offset % data_bytes());
    }
    /// Whether a record of that event, perhaps with further bits, lies in what is not read yet.
    unsigned count(uint32_t event, uint32_t mask = 0xfffffff) const {
        unsigned found = 0;
        for (uint64_t i = header().cons; i != header().prod;) {
            const uint32_t head = word(i);
            found += (head & mask) == event;
            i += 4 + (head >> 31) * 8 + ((head >> 28) & 7) * 4;
            if (i >= 2 * data_bytes()) i -= 2 * data_bytes();
        }
        return found;
    }
};

/// Sets buffers of two pages up and maps the first CPU's.
Mapped make_buffer() {
    CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_set_size, Mapped::kPages), 0);
    const auto info = tbuf_info();
    CHECK(info.buffer_mfn != 0 && info.size % kPageSize == 0 && info.size > 0);

    auto* described = static_cast<t_info*>(alloc_page());
    const uint64_t own = mfn_of(described);
    CHECK(map_xen(described, info.buffer_mfn, kDataFlags) < 0);  // it is not to be written
    CHECK_EQ(map_xen(described, info.buffer_mfn, kReadOnlyFlags), 0);
    CHECK_EQ(described->tbuf_size, Mapped::kPages);
    const auto* list = reinterpret_cast<const uint32_t*>(described) + described->mfn_offset[0];
    Mapped mapped = {static_cast<char*>(alloc_pages(Mapped::kPages)), {}};
    for (unsigned i = 0; i < Mapped::kPages; ++i) {
        mapped.own[i] = mfn_of(mapped.at + i * kPageSize);
        CHECK_EQ(map_xen(mapped.at + i * kPageSize, list[i], kDataFlags), 0);
    }
    remap(described, pte(own, kDataFlags));
    return mapped;
}

}  // namespace

TEST(trace_refuses, "XEN_SYSCTL_tbuf_op: before there is a buffer; bad sizes, masks, commands",
     "own-boot") {
    CHECK_EQ(tbuf_info().size, 0);
    CHECK_EQ(tbuf_info().evt_mask, TRC_ALL);
    CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_enable), -kEINVAL);
    CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_disable), 0);
    CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_set_size, 0), -kEINVAL);
    CHECK_EQ(tbuf(77), -kEINVAL);
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_tbuf_op);
    op.u.tbuf_op.cmd = XEN_SYSCTL_TBUFOP_set_cpu_mask;
    op.u.tbuf_op.cpu_mask.nr_bits = 64;
    set_xen_guest_handle(op.u.tbuf_op.cpu_mask.bitmap, reinterpret_cast<uint8_t*>(0x1000));
    CHECK_EQ(sysctl(&op), -kEFAULT);
    CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_set_size, 3), 0);
    CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_set_size, 4), -kEINVAL);
    CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_set_size, 3), -kEBUSY);
    Child child;
    auto* theirs = child.scratch_as<mmu_update_t>();  // the buffers are not for everybody
    *theirs = {.ptr = child.mfn(Child::kFirstFree) << 12 | MMU_NORMAL_PT_UPDATE,
               .val = pte(tbuf_info().buffer_mfn, kReadOnlyFlags)};
    CHECK(child.call(__HYPERVISOR_mmu_update, Child::scratch(0), 1, 0, DOMID_XEN) < 0);
    child.destroy();
}

TEST(trace_records, "trace buffers: hypercalls, page faults, emulation, blocking; by class; lost",
     "own-boot") {
    const Mapped buffer = make_buffer();
    const auto anew = [&](uint32_t mask) {
        CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_set_evt_mask, mask), 0);
        buffer.header().cons = buffer.header().prod;
    };
    CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_disable), 0);
    anew(TRC_ALL);
    xen_version(XENVER_version);
    CHECK_EQ(buffer.header().cons, buffer.header().prod);
    CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_enable), 0);

    anew(TRC_PV_ENTRY);
    xen_version(XENVER_version);
    multicall_entry_t list[2] = {{.op = __HYPERVISOR_xen_version}, {.op = __HYPERVISOR_iret + 400}};
    CHECK_EQ(multicall(list, 1), 0);
    CHECK(buffer.count(TRC_PV_HYPERCALL_V2) >= 2);
    CHECK_EQ(buffer.count(TRC_PV_HYPERCALL_SUBCALL), 0);
    anew(TRC_PV_SUBCALL);
    CHECK_EQ(multicall(list, 1), 0);
    CHECK(buffer.count(TRC_PV_HYPERCALL_SUBCALL) >= 1);
    CHECK_EQ(buffer.count(TRC_PV_HYPERCALL_V2), 0);

    anew(TRC_PV_ENTRY);
    uint64_t cr0;
    asm volatile("mov %%cr0, %0" : "=r"(cr0));
    CHECK(buffer.count(TRC_PV_EMULATE_PRIVOP | TRC_64_FLAG) >= 1);
    volatile uint64_t* leaf = entry_of(addr(alloc_page()));
    *leaf = *leaf;
    CHECK(buffer.count(TRC_PV_PTWR_EMULATION | TRC_64_FLAG) >= 1);

    anew(TRC_SCHED);
    CHECK_EQ(sched_op(SCHEDOP_yield), 0);
    CHECK(buffer.count(TRC_SCHED_YIELD) >= 1);
    CHECK_EQ(buffer.count(TRC_PV_HYPERCALL_V2), 0);

    anew(TRC_ALL);
    for (unsigned i = 0; i < 2000; ++i) xen_version(XENVER_version);
    CHECK(buffer.count(TRC_PV_HYPERCALL_V2) < 2000);
    anew(TRC_ALL);
    xen_version(XENVER_version);
    CHECK(buffer.count(TRC_LOST_RECORDS) >= 1);

    buffer.header().cons = 3;  // a lie: no more records, and no harm
    xen_version(XENVER_version);
    const uint32_t after = buffer.header().prod;
    xen_version(XENVER_version);
    CHECK_EQ(buffer.header().prod, after);
    for (unsigned i = 0; i < Mapped::kPages; ++i)
        remap(buffer.at + i * kPageSize, pte(buffer.own[i], kDataFlags));
}

TEST(trace_wakes_reader, "VIRQ_TBUF: when a buffer is half full", "own-boot") {
    const Mapped buffer = make_buffer();
    const Port port = bind_virq(VIRQ_TBUF);
    buffer.header().cons = buffer.header().prod;
    CHECK(!pending(port));
    for (unsigned i = 0; i < 2000; ++i) xen_version(XENVER_version);
    CHECK(wait_for([&] { return pending(port); }));
    CHECK_EQ(tbuf(XEN_SYSCTL_TBUFOP_disable), 0);
    clear_pending(port);
    CHECK_EQ(close_port(port), 0);
}

}  // namespace guest
