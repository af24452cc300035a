// Hypercalls that kernels of today hardly make: old forms, kexec, and what is left out on purpose.
#include <initializer_list>

#include "events.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

#include <xen/hypfs.h>
#include <xen/kexec.h>

namespace guest {

TEST(old_event_channel_op, "event_channel_op_compat: the command in the structure", "") {
    evtchn_op op = {};
    op.cmd = EVTCHNOP_alloc_unbound;
    op.u.alloc_unbound = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF};
    CHECK_EQ(hypercall(__HYPERVISOR_event_channel_op_compat, addr(&op)), 0);
    const Port port = op.u.alloc_unbound.port;
    CHECK_EQ(port_status(port).status, EVTCHNSTAT_unbound);
    op.cmd = EVTCHNOP_close;
    op.u.close = {.port = port};
    CHECK_EQ(hypercall(__HYPERVISOR_event_channel_op_compat, addr(&op)), 0);
    CHECK_EQ(hypercall(__HYPERVISOR_event_channel_op_compat, addr(&op)), -kEINVAL);
    op.cmd = EVTCHNOP_reset;  // younger than this form
    CHECK_EQ(hypercall(__HYPERVISOR_event_channel_op_compat, addr(&op)), -kENOSYS);
    CHECK_EQ(hypercall(__HYPERVISOR_event_channel_op_compat, 0x1000), -kEFAULT);
}

TEST(old_physdev_op, "physdev_op_compat: the command in the structure", "") {
    physdev_op_t op = {};
    op.cmd = PHYSDEVOP_apic_read;
    op.u.apic_op = {.apic_physbase = 0xfec00000, .reg = 1};
    CHECK_EQ(hypercall(__HYPERVISOR_physdev_op_compat, addr(&op)), 0);
    CHECK_EQ(op.u.apic_op.value >> 16 & 0xff, 23);
    op.cmd = 999;
    CHECK_EQ(hypercall(__HYPERVISOR_physdev_op_compat, addr(&op)), -kENOSYS);
    CHECK_EQ(hypercall(__HYPERVISOR_physdev_op_compat, 0x1000), -kEFAULT);
}

TEST(old_set_callbacks, "set_callbacks: events come to the entry point that it names", "") {
    auto entry = [](void (*code)()) { return reinterpret_cast<Arg>(code); };
    set_handler(kEvent, count_upcall);
    enable_upcalls();
    const unsigned before = upcalls;
    const Port port = bind_ipi();
    CHECK_EQ(hypercall(__HYPERVISOR_set_callbacks, entry(event_callback), entry(failsafe_callback),
                       entry(syscall_callback)),
             0);
    CHECK_EQ(send_event(port), 0);
    CHECK(wait_for([&] { return upcalls > before; }));
    disable_upcalls();
    close_port(port);
    reset_traps();  // which says again that the syscall callback masks events: this form cannot
}

TEST(calls_left_out, "argo_op, tmem_op, unused numbers: -ENOSYS; no performance counters", "") {
    for (const unsigned number : {__HYPERVISOR_argo_op, __HYPERVISOR_tmem_op, __HYPERVISOR_arch_2,
                                  __HYPERVISOR_arch_3, __HYPERVISOR_arch_7})
        CHECK_EQ(hypercall(number, 0), -kENOSYS);
    for (unsigned command = 0; command < 10; ++command)
        CHECK_EQ(hypercall(__HYPERVISOR_xenpmu_op, command, 0x1000), -kEOPNOTSUPP);
}

TEST(kexec_nothing_loaded, "kexec_op: no room for a crash kernel, nothing loaded", "") {
    auto kexec = [](unsigned cmd, void* arg) {
        return hypercall(__HYPERVISOR_kexec_op, cmd, addr(arg));
    };
    xen_kexec_range_t range = {.range = KEXEC_RANGE_MA_CRASH, .size = 77};
    CHECK_EQ(kexec(KEXEC_CMD_kexec_get_range, &range), 0);
    CHECK_EQ(range.size, 0);
    range.range = 99;
    CHECK_EQ(kexec(KEXEC_CMD_kexec_get_range, &range), -kEINVAL);
    xen_kexec_status_t status = {.type = KEXEC_TYPE_CRASH};
    CHECK_EQ(kexec(KEXEC_CMD_kexec_status, &status), 0);
    status.type = 9;
    CHECK_EQ(kexec(KEXEC_CMD_kexec_status, &status), -kEINVAL);
    CHECK_EQ(kexec(KEXEC_CMD_kexec_status, reinterpret_cast<void*>(0x1000)), -kEFAULT);
}

TEST(hypfs_reads, "hypfs_op: version, a folder, a file, sizes; paths that are none", "") {
    auto hypfs = [](unsigned cmd, const char* path, unsigned long bytes, void* to,
                    unsigned long n) {
        return hypercall(__HYPERVISOR_hypfs_op, cmd, addr(path), bytes, addr(to), n);
    };
    struct {
        xen_hypfs_direntry_t head;
        char text[1024];
    } static got;
    CHECK_EQ(hypfs(XEN_HYPFS_OP_get_version, nullptr, 0, nullptr, 0), 1);
    CHECK_EQ(hypfs(XEN_HYPFS_OP_get_version, nullptr, 1, nullptr, 0), -kEINVAL);
    CHECK_EQ(hypfs(XEN_HYPFS_OP_read, "/", 2, &got, sizeof got), 0);
    CHECK_EQ(got.head.type, XEN_HYPFS_TYPE_DIR);
    const auto* entry = reinterpret_cast<xen_hypfs_dirlistentry*>(got.text);
    CHECK(!memcmp(entry->name, "buildinfo", 10));
    static const char major[] = "/buildinfo/version/major";
    CHECK_EQ(hypfs(XEN_HYPFS_OP_read, major, sizeof major, &got, sizeof got), 0);
    CHECK_EQ(got.head.type, XEN_HYPFS_TYPE_UINT);
    CHECK_EQ(got.head.content_len, 4);
    CHECK_EQ(got.text[0], 4);
    CHECK_EQ(hypfs(XEN_HYPFS_OP_read, major, sizeof major, &got, sizeof got.head), -kENOBUFS);
    CHECK_EQ(hypfs(XEN_HYPFS_OP_read, major, sizeof major, &got, 4), -kEINVAL);
    CHECK_EQ(hypfs(XEN_HYPFS_OP_read, major, sizeof major - 1, &got, sizeof got), -kEINVAL);
    CHECK_EQ(hypfs(XEN_HYPFS_OP_read, "/no", 4, &got, sizeof got), -kENOENT);
    CHECK_EQ(hypfs(XEN_HYPFS_OP_read, "no", 3, &got, sizeof got), -kEINVAL);
    CHECK_EQ(hypfs(XEN_HYPFS_OP_read, major, 4096, &got, sizeof got), -kEINVAL);
    CHECK_EQ(hypfs(XEN_HYPFS_OP_read, reinterpret_cast<char*>(0x1000), 4, &got, 16), -kEFAULT);
    CHECK_EQ(hypfs(9, major, sizeof major, &got, sizeof got), -kEOPNOTSUPP);
}

}  // namespace guest
