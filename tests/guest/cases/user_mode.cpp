// User mode: into it by iret, out of it by syscall, fault and interrupt.
#include <initializer_list>

#include "memory.hpp"
#include "platform.hpp"
#include "test.hpp"
#include "traps.hpp"
#include "user.hpp"

namespace guest {

USER_CODE(user_syscall, "mov $0x1234, %eax; stc; syscall; user_syscall_end: hlt");
USER_CODE(user_syscall_twice, "syscall; syscall; hlt");
USER_CODE(user_ud2, "ud2");
USER_CODE(user_int3, "int3; user_int3_end: hlt");
USER_CODE(user_int80, "int $0x80; user_int80_end: hlt");
USER_CODE(user_int_ud, "int $0x06");
USER_CODE(user_read, "mov (%rdi), %rax; hlt");
USER_CODE(user_write, "mov %rsi, (%rdi); syscall");
USER_CODE(user_jump, "jmp *%rdi");
USER_CODE(user_push, "push %rax; syscall");
USER_CODE(user_cli, "cli");
USER_CODE(user_clts, "clts");
USER_CODE(user_read_cr0, "mov %cr0, %rax");
USER_CODE(user_write_cr3, "mov %rax, %cr3");
USER_CODE(user_read_dr7, "mov %dr7, %rax");
USER_CODE(user_wbinvd, "wbinvd");
USER_CODE(user_rdmsr, "mov $0xc0000080, %ecx\n rdmsr");
USER_CODE(user_spin, "1: jmp 1b");
extern "C" const unsigned char user_syscall_end[], user_int3_end[], user_int80_end[];

TEST(user_syscall_callback, "syscall in user mode: the callback, its frame, rcx and r11", "") {
    TrapFrame frame = user_frame(user_syscall);
    frame.rdi = 1;
    frame.rsi = 2;
    frame.rdx = 3;
    frame.r10 = 4;
    frame.r8 = 5;
    frame.r9 = 6;
    frame.rbx = 7;
    const Trap trap = run_user(frame);
    CHECK(trap.is(kSyscall));
    CHECK(trap.frame.from_user());
    CHECK_EQ(trap.frame.rax, 0x1234);
    CHECK_EQ(trap.frame.rip, user_address(user_syscall_end));
    CHECK_EQ(trap.frame.rcx, trap.frame.rip);
    CHECK_EQ(trap.frame.rsp, frame.rsp);
    CHECK(trap.frame.rflags & 1);  // the carry that the user set
    CHECK_EQ(trap.frame.r11 & 1, 1);
    const uint64_t kept[] = {trap.frame.rdi, trap.frame.rsi, trap.frame.rdx, trap.frame.r10,
                             trap.frame.r8,  trap.frame.r9,  trap.frame.rbx};
    for (unsigned i = 0; i < 7; ++i) CHECK_EQ(kept[i], i + 1);
    // The callback was registered with CALLBACKF_mask_events; user mode ran with them enabled.
    CHECK(this_vcpu_masked());
    CHECK(!trap.frame.upcalls_were_masked());
}

TEST(user_syscall_unmasked, "callback_op: a syscall callback that leaves upcalls enabled", "") {
    callback_register_t request = {.type = CALLBACKTYPE_syscall,
                                   .flags = 0,
                                   .address = addr(reinterpret_cast<void*>(syscall_callback))};
    CHECK_EQ(callback_op(CALLBACKOP_register, &request), 0);
    CHECK(run_user(user_syscall).is(kSyscall));
    CHECK(!this_vcpu_masked());
}

TEST(user_syscall_return, "iret with VGCF_in_syscall: back behind the syscall, registers kept",
     "") {
    const Trap first = run_user(user_syscall_twice);
    CHECK(first.is(kSyscall));
    TrapFrame frame = first.frame;
    frame.rax = 0xabcd;
    frame.rbx = 0x1111;
    const Trap second = run_user(frame, VGCF_in_syscall);
    CHECK(second.is(kSyscall));
    CHECK_EQ(second.frame.rip, first.frame.rip + 2);
    CHECK_EQ(second.frame.rax, 0xabcd);
    CHECK_EQ(second.frame.rbx, 0x1111);
}

TEST(user_iret_keeps_rcx, "iret without VGCF_in_syscall: rcx and r11 are the user's own", "") {
    static uint64_t rcx, r11;
    TrapFrame frame = user_frame(user_ud2);
    frame.rcx = 0xc0c0;
    frame.r11 = 0x1b1b;
    const Trap trap = run_user(frame);
    CHECK(trap.is(kInvalidOpcode));
    rcx = trap.frame.rcx;
    r11 = trap.frame.r11;
    CHECK_EQ(rcx, 0xc0c0);
    CHECK_EQ(r11, 0x1b1b);
}

TEST(user_invalid_opcode, "#UD in user mode: RPL 3 in the frame, on the registered kernel stack",
     "") {
    static uint64_t handler_sp;
    set_handler(kInvalidOpcode, [](TrapFrame& frame) {
        handler_sp = addr(&frame);
        return false;
    });
    const Trap trap = run_user(user_ud2);
    CHECK(trap.is(kInvalidOpcode));
    CHECK(trap.frame.from_user());
    CHECK_EQ(trap.frame.rip, user_address(user_ud2));
    CHECK_EQ(trap.frame.ss, FLAT_USER_SS | 3);
    CHECK_EQ(handler_sp + sizeof(TrapFrame), kernel_stack_top());
}

TEST(user_breakpoint, "int3 in user mode: #BP through an entry of DPL 3", "") {
    const Trap trap = run_user(user_int3);
    CHECK(trap.is(kBreakpoint));
    CHECK(trap.frame.from_user());
    CHECK_EQ(trap.frame.rip, user_address(user_int3_end));
}

TEST(user_int80, "int $0x80 in user mode: the trap table's entry of DPL 3", "") {
    const Trap trap = run_user(user_int80);
    CHECK(trap.is(kSoft));
    CHECK(trap.frame.from_user());
    CHECK_EQ(trap.frame.rip, user_address(user_int80_end));
}

TEST(user_int80_refused, "int $0x80 in user mode without an entry in the trap table: #GP", "") {
    CHECK_EQ(set_trap_table(nullptr), 0);
    default_trap_table[32] = {};
    CHECK_EQ(set_trap_table(default_trap_table), 0);
    const Trap trap = run_user(user_int80);
    CHECK(trap.is(kGeneralProtection, 0x80 << 3 | 2));
    CHECK_EQ(trap.frame.rip, user_address(user_int80));
}

TEST(user_int_exception, "int of an exception's vector in user mode: #GP, as its DPL is 0",
     "skip=QEMU 7.2 gives int n with DPL < CPL the error code n*16+2") {
    CHECK(run_user(user_int_ud).is(kGeneralProtection, kInvalidOpcode << 3 | 2));
}

TEST(user_page_fault_bits, "#PF in user mode: U set; write, protection and fetch beside it", "") {
    TrapFrame frame = user_frame(user_read);
    frame.rdi = 0x100000;
    Trap trap = run_user(frame);
    CHECK(trap.is(kPageFault, kPfUser));
    CHECK_EQ(trap.cr2, 0x100000);
    CHECK(trap.frame.from_user());

    frame = user_frame(user_write);
    frame.rdi = user_address(user_write);
    trap = run_user(frame);
    CHECK(trap.is(kPageFault, kPfUser | kPfPresent | kPfWrite));
    CHECK_EQ(trap.cr2, frame.rdi);

    frame = user_frame(user_jump);
    frame.rdi = kUserStackTop;
    trap = run_user(frame);
    CHECK(trap.is(kPageFault));
    CHECK_EQ(trap.frame.error & ~static_cast<uint64_t>(kPfFetch), kPfUser);
    CHECK_EQ(trap.frame.rip, kUserStackTop);
}

TEST(user_sees_own_table, "user mode runs on the user's base pointer; the kernel's is not visible",
     "") {
    TrapFrame frame = user_frame(user_write);
    frame.rdi = kUserData + 8;
    frame.rsi = 0x5151;
    CHECK(run_user(frame).is(kSyscall));
    CHECK_EQ(static_cast<uint64_t*>(user_data())[1], 0x5151);
    frame = user_frame(user_read);
    frame.rdi = addr(hypercall_page);  // mapped in the kernel's table only
    const Trap trap = run_user(frame);
    CHECK(trap.is(kPageFault, kPfUser));
    CHECK_EQ(trap.cr2, addr(hypercall_page));
    // And the user's address is not mapped in the kernel's.
    CHECK(catch_trap([] { *reinterpret_cast<volatile char*>(kUserData); }).is(kPageFault, 0));
}

TEST(user_hypervisor_address, "user mode cannot reach the hypervisor's memory, nor the M2P",
     "differs-isolated=under isolation stock Xen shows user mode the M2P") {
    for (const Arg place : {MACH2PHYS_VIRT_START, HYPERVISOR_VIRT_END - 4096}) {
        TrapFrame frame = user_frame(user_read);
        frame.rdi = place;
        const Trap trap = run_user(frame);
        CHECK(trap.is(kPageFault));
        CHECK(trap.frame.error & kPfUser);
        CHECK_EQ(trap.cr2, place);
    }
}

TEST(user_stack_fault, "a user stack that is not mapped is a #PF of the user", "") {
    TrapFrame frame = user_frame(user_push);
    frame.rsp = 0x40;
    const Trap trap = run_user(frame);
    CHECK(trap.is(kPageFault, kPfUser | kPfWrite));
    CHECK_EQ(trap.cr2, 0x38);
}

TEST(user_hypercall_is_syscall, "syscall in user mode never reaches the hypercall table", "") {
    TrapFrame frame = user_frame(user_syscall_twice);
    frame.rax = __HYPERVISOR_sched_op;
    frame.rdi = SCHEDOP_shutdown;
    frame.rsi = 0;
    const Trap trap = run_user(frame);
    CHECK(trap.is(kSyscall));
    CHECK_EQ(trap.frame.rax, __HYPERVISOR_sched_op);
}

TEST(user_privileged_refused, "privileged instructions in user mode: #GP, not emulated", "") {
    for (const auto& code : {user_cli, user_clts, user_read_cr0, user_write_cr3, user_read_dr7,
                             user_wbinvd, user_rdmsr}) {
        const Trap trap = run_user(code);
        CHECK(trap.is(kGeneralProtection, 0));
        CHECK(trap.frame.from_user());
    }
}

TEST(user_event_upcall, "an event interrupts user mode: event callback with the user's frame", "") {
    set_handler(kEvent, [](TrapFrame&) { return false; });
    static vcpu_set_singleshot_timer_t timer;
    evtchn_bind_virq_t bind = {.virq = VIRQ_TIMER, .vcpu = 0};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_virq, &bind), 0);
    timer = {.timeout_abs_ns = system_time() + 20'000'000};
    CHECK_EQ(vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer), 0);
    const Trap trap = run_user(user_spin);
    CHECK(trap.is(kEvent));
    CHECK(trap.frame.from_user());
    CHECK_EQ(trap.frame.rip, user_address(user_spin));
    CHECK(this_vcpu_masked());
    CHECK(!trap.frame.upcalls_were_masked());
    vcpu_info().evtchn_upcall_pending = 0;
    vcpu_info().evtchn_pending_sel = 0;
    shared_info().evtchn_pending[0] = 0;
    evtchn_close_t close = {.port = bind.port};
    CHECK_EQ(event_channel_op(EVTCHNOP_close, &close), 0);
}

TEST(iret_kernel_to_kernel, "iret to kernel mode: rsp, flags and the upcall mask from the frame",
     "") {
    static uint64_t stack[64];
    TrapFrame frame = {};
    frame.rip = addr(user_ud2);
    frame.cs = FLAT_KERNEL_CS & ~3;
    frame.ss = FLAT_KERNEL_SS & ~3;
    frame.rflags = 0x201;
    frame.rsp = addr(&stack[64]);
    const Trap trap = enter(frame);
    CHECK(trap.is(kInvalidOpcode));
    CHECK(!trap.frame.from_user());
    CHECK_EQ(trap.frame.rsp, frame.rsp);
    CHECK(trap.frame.rflags & 1);
    CHECK(!trap.frame.upcalls_were_masked());
}

TEST(iret_non_canonical, "iret to a non-canonical rip, by SYSRET's way and without", "") {
    for (const uint64_t flags : {0ul, static_cast<unsigned long>(VGCF_in_syscall)}) {
        TrapFrame frame = user_frame(user_ud2);
        frame.rip = 0x0000800000000000;
        const Trap trap = run_user(frame, flags);
        CHECK(trap.is(kGeneralProtection, 0));
        CHECK_EQ(trap.frame.rip, frame.rip);
        CHECK(trap.frame.from_user());
    }
}

TEST(iret_bad_selector, "iret with a code or stack selector that does not exist: #GP of the user",
     "") {
    for (uint64_t TrapFrame::*selector : {&TrapFrame::cs, &TrapFrame::ss}) {
        TrapFrame frame = user_frame(user_ud2);
        frame.*selector = 0x1003;
        const Trap trap = run_user(frame);
        CHECK(trap.is(kGeneralProtection, 0x1000));
        CHECK_EQ(trap.frame.rip, frame.rip);
    }
}

TEST(iret_bad_flags, "iret with flags the guest may not set: IOPL, VM are taken out", "") {
    TrapFrame frame = user_frame(user_ud2);
    frame.rflags = 0x202 | 0x3000 | 1ul << 17;
    const Trap trap = run_user(frame);
    CHECK(trap.is(kInvalidOpcode));
    CHECK_EQ(trap.frame.rflags & (1ul << 17), 0);
    CHECK_EQ(trap.frame.rflags & 0x3000, 0);
}

TEST(crash_iret_no_user_table, "iret to user mode without a user table: ends the domain", "crash") {
    TrapFrame frame = user_frame(user_ud2);
    announce_end();
    enter(frame);
}

TEST(crash_iret_bad_stack, "iret with a kernel stack that is not mapped: ends the domain",
     "crash") {
    announce_end();
    asm volatile("mov $0x3000, %%rsp; mov $23, %%eax; syscall" ::: "memory");
}

TEST(callback_register_refuses, "callback_op: unknown type, bad address, unknown command", "") {
    callback_register_t request = {.type = 99, .flags = 0, .address = addr(hypercall_page)};
    CHECK_EQ(callback_op(CALLBACKOP_register, &request), -kENOSYS);
    request = {.type = CALLBACKTYPE_event, .flags = 0, .address = 1ul << 60};
    CHECK_EQ(callback_op(CALLBACKOP_register, &request), -kEINVAL);
    CHECK_EQ(callback_op(17, &request), -kENOSYS);
    request = {.type = CALLBACKTYPE_sysenter_deprecated, .address = addr(hypercall_page)};
    CHECK_EQ(callback_op(CALLBACKOP_register, &request), -kENOSYS);
    callback_unregister_t gone = {.type = CALLBACKTYPE_event};
    CHECK_EQ(callback_op(CALLBACKOP_unregister, &gone), -kEINVAL);
    gone.type = CALLBACKTYPE_nmi;
    CHECK_EQ(callback_op(CALLBACKOP_unregister, &gone), 0);
}

}  // namespace guest
