// Entry, exceptions, callbacks, and the way into and out of user mode of a 64-bit PV guest.
//
// What the hypervisor pushes, lowest address first (arch-x86/xen-x86_64.h, and Linux's view of it):
//   exception         rcx r11 [error code] rip cs rflags rsp ss
//   event, syscall    rcx r11 rip cs rflags rsp ss
//   failsafe          rcx r11 ds es fs gs rip cs rflags rsp ss
// The saved CS has RPL 0 when guest-kernel mode was interrupted, 3 when guest-user mode was.
// Everything is turned into one TrapFrame (traps.hpp) before C++ sees it.

#define __HYPERVISOR_iret 23

    .section .text.start, "ax"
    .globl _start
_start:
    // Everything as it came is kept: the time for the bench, the rest for the test of the boot state.
    rdtsc
    mov %eax, boot_state + 72(%rip)
    mov %edx, boot_state + 76(%rip)
    mov %rsi, boot_state + 0(%rip)
    mov %rsp, boot_state + 8(%rip)
    lea boot_stack_top(%rip), %rsp
    pushf
    pop boot_state + 64(%rip)
    mov %cs, boot_state + 16(%rip)
    mov %ss, boot_state + 24(%rip)
    mov %ds, boot_state + 32(%rip)
    mov %es, boot_state + 40(%rip)
    mov %fs, boot_state + 48(%rip)
    mov %gs, boot_state + 56(%rip)
    cld
    mov %rsi, %rdi                      // start_info
    xor %ebp, %ebp
    call guest_main
1:  hlt
    jmp 1b

    .text

// One stub a vector; those the CPU gives an error code keep it.
.macro trap_stub vector
    .balign 16
    pop %rcx
    pop %r11
    .if !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21)
    push $0
    .endif
    push $\vector
    jmp trap_common
.endm

    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 32
    trap_stub vector
    .set vector, vector + 1
    .endr

// Vectors above the exceptions that tests hang an `int n` on.
    .balign 16
    .globl trap_soft_stub
trap_soft_stub:
    pop %rcx
    pop %r11
    push $0
    push $0x80
    jmp trap_common

    .globl event_callback, failsafe_callback, syscall_callback, syscall32_callback, sysenter_callback
event_callback:
    pop %rcx
    pop %r11
    push $0
    push $0x100
    jmp trap_common

syscall_callback:
    pop %rcx
    pop %r11
    push $0
    push $0x101
    jmp trap_common

syscall32_callback:
    pop %rcx
    pop %r11
    push $0
    push $0x103
    jmp trap_common

sysenter_callback:
    pop %rcx
    pop %r11
    push $0
    push $0x104
    jmp trap_common

failsafe_callback:
    pop %rcx
    pop %r11
    pop failsafe_selectors + 0(%rip)
    pop failsafe_selectors + 8(%rip)
    pop failsafe_selectors + 16(%rip)
    pop failsafe_selectors + 24(%rip)
    push $0
    push $0x102
    jmp trap_common

trap_common:
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %rdi
    mov %rsp, %rbx
    and $-16, %rsp
    cld
    call trap_dispatch
    mov %rbx, %rsp
    .globl trap_return
trap_return:
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp                       // vector, error code: rip cs rflags rsp ss remain
    push $0                             // iret_context.flags
    push %rcx
    push %r11
    push %rax
    mov $__HYPERVISOR_iret, %eax
    syscall
    ud2

// bool guarded_call(void (*fn)(void *), void *arg, void **resume_sp)
// Calls fn(arg). False when it returned; true when guarded_unwind(*resume_sp) left it early.
    .globl guarded_call
guarded_call:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdx)
    mov %rdi, %rax
    mov %rsi, %rdi
    sub $8, %rsp
    call *%rax
    add $8, %rsp
    xor %eax, %eax
    jmp 1f

    .globl guarded_unwind
guarded_unwind:
    mov %rdi, %rsp
    mov $1, %eax
1:  pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    cld
    ret

// void iret_to(TrapFrame *frame, uint64_t flags): never returns by itself. flags: VGCF_in_syscall or 0.
    .globl iret_to
iret_to:
    mov %rdi, %rsp
    mov %rsi, iret_flags(%rip)
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    push iret_flags(%rip)
    push %rcx
    push %r11
    push %rax
    mov $__HYPERVISOR_iret, %eax
    syscall
    .globl iret_returned
iret_returned:
    ud2

    .section .hypercall_page, "ax"
    .fill 4096, 1, 0xcc                 // filled by the hypervisor where the note asks for it

    .bss
    .balign 16
    .globl boot_state
boot_state:
    .skip 80
    .balign 16
    .globl boot_stack, boot_stack_top
boot_stack:
    .skip 65536
boot_stack_top:
    .globl failsafe_selectors
failsafe_selectors:
    .skip 32
iret_flags:
    .skip 8

    .section .note.GNU-stack, "", @progbits
