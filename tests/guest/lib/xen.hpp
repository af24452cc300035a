// The public headers, and the hypercalls as functions.
//
// A hypercall is the `syscall` instruction from guest-kernel mode: number in rax, arguments in rdi
// rsi rdx r10 r8 r9, result in rax; rcx and r11 are lost, argument registers may be
// (arch-x86/xen-x86_64.h). No hypercall page is needed; call_by_page() is for the tests of that
// page.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define __XEN_INTERFACE_VERSION__ 0x00040f00
#define __XEN_TOOLS__ 1
#include <xen/xen.h>

#include <xen/arch-x86/xen-mca.h>
#include <xen/callback.h>
#include <xen/domctl.h>
#include <xen/event_channel.h>
#include <xen/features.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/nmi.h>
#include <xen/physdev.h>
#include <xen/platform.h>
#include <xen/sched.h>
#include <xen/sysctl.h>
#include <xen/vcpu.h>
#include <xen/version.h>

namespace guest {

/// Xen's error numbers (<xen/errno.h>), as hypercalls return them, negated.
enum Errno : long {
#define XEN_ERRNO(name, value) k##name = value,
#include <xen/errno.h>
};

using Arg = unsigned long;

inline long hypercall(unsigned long number, Arg a1 = 0, Arg a2 = 0, Arg a3 = 0, Arg a4 = 0,
                      Arg a5 = 0) {
    long result;
    register Arg r10 asm("r10") = a4;
    register Arg r8 asm("r8") = a5;
    asm volatile("syscall"
                 : "=a"(result), "+D"(a1), "+S"(a2), "+d"(a3), "+r"(r10), "+r"(r8)
                 : "0"(number)
                 : "rcx", "r9", "r11", "memory");
    return result;
}

extern "C" unsigned char hypercall_page[];

inline long call_by_page(unsigned long number, Arg a1 = 0, Arg a2 = 0) {
    long result;
    asm volatile("call *%[slot]"
                 : "=a"(result), "+D"(a1), "+S"(a2)
                 : [slot] "r"(hypercall_page + number * 32)
                 : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory");
    return result;
}

inline Arg addr(const volatile void* p) {
    return reinterpret_cast<Arg>(p);
}

inline long xen_version(int cmd, void* arg = nullptr) {
    return hypercall(__HYPERVISOR_xen_version, cmd, addr(arg));
}
inline long console_io(int cmd, unsigned count, const char* buffer) {
    return hypercall(__HYPERVISOR_console_io, cmd, count, addr(buffer));
}
inline long memory_op(int cmd, void* arg) {
    return hypercall(__HYPERVISOR_memory_op, cmd, addr(arg));
}
inline long mmu_update(const mmu_update_t* updates, unsigned count, unsigned* done = nullptr,
                       unsigned domid = DOMID_SELF) {
    return hypercall(__HYPERVISOR_mmu_update, addr(updates), count, addr(done), domid);
}
inline long mmuext_op(const mmuext_op_t* ops, unsigned count, unsigned* done = nullptr,
                      unsigned domid = DOMID_SELF) {
    return hypercall(__HYPERVISOR_mmuext_op, addr(ops), count, addr(done), domid);
}
inline long update_va_mapping(Arg va, uint64_t pte, Arg flags = 0) {
    return hypercall(__HYPERVISOR_update_va_mapping, va, pte, flags);
}
inline long set_trap_table(const trap_info_t* table) {
    return hypercall(__HYPERVISOR_set_trap_table, addr(table));
}
inline long callback_op(int cmd, const void* arg) {
    return hypercall(__HYPERVISOR_callback_op, cmd, addr(arg));
}
inline long stack_switch(Arg ss, Arg rsp) {
    return hypercall(__HYPERVISOR_stack_switch, ss, rsp);
}
inline long fpu_taskswitch(int set) {
    return hypercall(__HYPERVISOR_fpu_taskswitch, set);
}
inline long set_segment_base(int which, Arg base) {
    return hypercall(__HYPERVISOR_set_segment_base, which, base);
}
inline long event_channel_op(int cmd, void* arg) {
    return hypercall(__HYPERVISOR_event_channel_op, cmd, addr(arg));
}
inline long grant_table_op(int cmd, void* arg, unsigned count) {
    return hypercall(__HYPERVISOR_grant_table_op, cmd, addr(arg), count);
}
inline long sched_op(int cmd, const void* arg = nullptr) {
    return hypercall(__HYPERVISOR_sched_op, cmd, addr(arg));
}
inline long vcpu_op(int cmd, unsigned vcpu, void* arg = nullptr) {
    return hypercall(__HYPERVISOR_vcpu_op, cmd, vcpu, addr(arg));
}
inline long multicall(multicall_entry_t* list, unsigned count) {
    return hypercall(__HYPERVISOR_multicall, addr(list), count);
}
inline long vm_assist(int cmd, int type) {
    return hypercall(__HYPERVISOR_vm_assist, cmd, type);
}
inline long physdev_op(int cmd, void* arg) {
    return hypercall(__HYPERVISOR_physdev_op, cmd, addr(arg));
}
inline long domctl(xen_domctl_t* op) {
    return hypercall(__HYPERVISOR_domctl, addr(op));
}
inline long sysctl(xen_sysctl_t* op) {
    return hypercall(__HYPERVISOR_sysctl, addr(op));
}
inline long machine_check_op(xen_mc_t* op) {
    return hypercall(__HYPERVISOR_mca, addr(op));
}
inline long platform_op(xen_platform_op_t* op) {
    return hypercall(__HYPERVISOR_platform_op, addr(op));
}

}  // namespace guest
