/* The way in and the way out. One stack frame (cpu_user_regs) for every reason to enter:
 *
 *   SYSCALL stub of the CPU -> entry_syscall -> the table in use[rax](…)   -> to_guest
 *                                            -> hv_system_call(regs)       -> to_guest
 *   guest's page fault      -> entry_page_fault -> hv_guest_page_fault(regs) -> to_guest
 *   guest's exception       -> entry_common  -> hv_guest_exception(regs)   -> to_guest
 *   our own                 -> entry_common  -> hv_own_exception(regs)     -> restore_hv
 *   interrupt               -> entry_common  -> hv_irq_entry(regs)         -> exit_work / restore_hv
 *
 * Only this section and the stack are mapped while a guest under page-table isolation runs; the
 * first thing on the way in is thus CR3, and the last thing on the way out. Registers are cleared
 * on entry, so that no guest value but a hypercall's arguments is left for speculation to use.
 */
#include "hv/x86/cpu/offsets.h"

        .section .text.entry, "ax", @progbits
        .code64

.macro SAVE_REGISTERS
        push %rdi; push %rsi; push %rdx; push %rcx; push %rax
        push %r8;  push %r9;  push %r10; push %r11
        push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
.endm

.macro CLEAR_REGISTERS
        xor %esi, %esi;   xor %edx, %edx;   xor %ecx, %ecx;   xor %eax, %eax
        xor %r8d, %r8d;   xor %r9d, %r9d;   xor %r10d, %r10d; xor %r11d, %r11d
        xor %ebx, %ebx;   xor %ebp, %ebp;   xor %r12d, %r12d; xor %r13d, %r13d
        xor %r14d, %r14d; xor %r15d, %r15d
.endm

.macro RESTORE_REGISTERS
        pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
        pop %r11; pop %r10; pop %r9;  pop %r8
        pop %rax; pop %rcx; pop %rdx; pop %rsi; pop %rdi
.endm

/* Makes the address of the CPU's CpuInfo in \reg: works on each of its stacks. */
.macro GET_CPUINFO reg
        mov %rsp, \reg
        or $(STACK_SIZE - 1), \reg
        sub $(CPUINFO_SIZE - 1), \reg
.endm

/* CR3 := a member of the CpuInfo at \info, unless it is 0 (not isolated). Loses \scratch. */
.macro LOAD_CR3 member, info, scratch
        cmpq $0, \member(\info)
        je 9f
        mov \member(\info), \scratch
        mov \scratch, %cr3
9:
.endm

/* An indirect call without a prediction that a guest could have trained. */
.macro CALL_REGISTER name
        call __x86_indirect_thunk_\name
.endm

/* From the CPU's stub: rsp points at regs.rsp, which holds the guest's; rcx = rip, r11 = rflags. */
        .globl entry_syscall
entry_syscall:
        movq $SEL_GUEST_SS, REG_SS - REG_RSP(%rsp)
        push %r11
        push $SEL_GUEST_CS64
        push %rcx
        push .Lvector_syscall(%rip)
        SAVE_REGISTERS
        LOAD_CR3 CPUINFO_HV_CR3, %rsp, %rcx
        mov CPUINFO_CURRENT(%rsp), %rbx
        cmpb $0, VCPU_KERNEL_MODE(%rbx)
        je .Lsystem_call

        /* A hypercall. rdi rsi rdx r8 are where the handler wants them; all else is cleared. */
        mov %r10, %rcx
        xor %ebp, %ebp;   xor %r9d, %r9d;   xor %r11d, %r11d; xor %r12d, %r12d
        xor %r13d, %r13d; xor %r14d, %r14d; xor %r15d, %r15d
        cmp $HYPERCALLS, %rax
        jae .Lno_hypercall
        sbb %r10, %r10          /* all ones; 0 where speculation runs past the branch */
        and %r10, %rax
        mov hypercalls_in_use(%rip), %r10
        mov (%r10,%rax,8), %r10
        CALL_REGISTER r10
        test %dl, %dl           /* Outcome: rax = value, dl = again */
        jnz .Lcontinued
        mov %rax, REG_RAX(%rsp)

/* What may be pending for the guest is looked at in two words; all of it is hv_exit_work()'s.
 * Here: rsp = CpuInfo, rbx = the current vCPU. */
.Lto_guest:
        mov CPUINFO_WORK(%rsp), %rcx
        cmpl $0, (%rcx)
        jne .Lexit_work
        mov VCPU_INFO(%rbx), %rcx
        cmpb $0, VCPU_INFO_PENDING(%rcx)
        jne .Lupcall

/* The frame at the top of the stack goes back to the guest. */
        .globl restore_guest
restore_guest:
        /* SYSRET takes rip from rcx without a check that is safe on every CPU, and cannot restore
         * TF or RF: anything unusual leaves by IRET. (VECTOR_SYSCALL says that cs and ss are those
         * that SYSRET loads.) */
        cmpl $VECTOR_SYSCALL, REG_VECTOR(%rsp)
        jne .Liret
        mov REG_RIP(%rsp), %rcx
        movabs $(1 << 47), %rax
        add %rcx, %rax          /* the canonical half-ranges are neighbours now, below 1 << 48 */
        shr $48, %rax
        jnz .Liret
        mov REG_RFLAGS(%rsp), %r11
        test $0x10100, %r11d
        jnz .Liret
        LOAD_CR3 CPUINFO_GUEST_CR3, %rsp, %rax
        mov REG_R15(%rsp), %r15
        mov REG_R14(%rsp), %r14
        mov REG_R13(%rsp), %r13
        mov REG_R12(%rsp), %r12
        mov REG_RBP(%rsp), %rbp
        mov REG_RBX(%rsp), %rbx
        mov REG_R10(%rsp), %r10
        mov REG_R9(%rsp), %r9
        mov REG_R8(%rsp), %r8
        mov REG_RAX(%rsp), %rax
        mov REG_RDX(%rsp), %rdx
        mov REG_RSI(%rsp), %rsi
        mov REG_RDI(%rsp), %rdi
        mov REG_RSP(%rsp), %rsp
        sysretq

.Liret: LOAD_CR3 CPUINFO_GUEST_CR3, %rsp, %rax
        RESTORE_REGISTERS
        add $8, %rsp
        .globl guest_iret
guest_iret:                             /* may fault: exception.cpp knows this address */
        iretq

.Lupcall:                               /* pending, but perhaps masked */
        cmpb $0, VCPU_INFO_MASK(%rcx)
        jne restore_guest
.Lexit_work:
        call hv_exit_work
        jmp restore_guest

.Lno_hypercall:
        movq $-ENOSYS, REG_RAX(%rsp)
        jmp .Lto_guest
.Lcontinued:
        mov %rsp, %rdi
        call hv_continue_hypercall
        jmp .Lto_guest

/* SYSCALL of the guest's user mode; here rsp = CpuInfo, rbx = the current vCPU. */
.Lsystem_call:
        CLEAR_REGISTERS
        mov %rsp, %rdi
        call hv_system_call
.Lreload_vcpu:
        mov CPUINFO_CURRENT(%rsp), %rbx
        jmp .Lto_guest

/* SYSCALL of 32-bit code, which only guests' user code can be. */
        .globl entry_syscall32
entry_syscall32:
        movq $SEL_GUEST_SS, REG_SS - REG_RSP(%rsp)
        push %r11
        push $SEL_GUEST_CS32
        push %rcx
        push .Lvector_syscall32(%rip)
        SAVE_REGISTERS
        LOAD_CR3 CPUINFO_HV_CR3, %rsp, %rcx
        jmp .Lsystem_call

        .balign 8
.Lvector_syscall:
        .long 0, VECTOR_SYSCALL         /* error_code, entry_vector */
.Lvector_syscall32:
        .long 0, VECTOR_SYSCALL32

/* Exceptions and interrupts: the stubs have made the frame complete up to entry_vector. What came
 * from the guest goes on behind this, with rdi = the frame. */
.macro ENTER_FROM_GUEST
        SAVE_REGISTERS
        testb $3, REG_CS(%rsp)
        jz .Lfrom_hv
        LOAD_CR3 CPUINFO_HV_CR3, %rsp, %rcx
        cld
        CLEAR_REGISTERS
        mov %rsp, %rdi
.endm

/* Page faults, by far the most frequent, go by themselves. */
entry_page_fault:
        ENTER_FROM_GUEST
        call hv_guest_page_fault
        jmp .Lreload_vcpu

entry_common:
        ENTER_FROM_GUEST
        cmpl $32, REG_VECTOR(%rsp)
        jae 1f
        call hv_guest_exception
        jmp .Lreload_vcpu
1:      call hv_irq_entry       /* another CPU may have wanted anything of this one */
        jmp .Lexit_work

/* From ourselves: an interrupt that was let in, or a fault, perhaps of the guest's IRET: CR3 may be
 * the guest's already. */
.Lfrom_hv:
        GET_CPUINFO %rbx
        LOAD_CR3 CPUINFO_HV_CR3, %rbx, %rcx
        cld
        CLEAR_REGISTERS
        mov %rsp, %rdi
        cmpl $32, REG_VECTOR(%rsp)
        jae 1f
        call hv_own_exception
        jmp restore_hv
1:      call hv_irq_entry
restore_hv:                             /* back into the hypervisor itself */
        RESTORE_REGISTERS
        add $8, %rsp
        iretq

/* #DB, NMI, #DF, #MC come on stacks of their own, since they may strike before SYSCALL has found
 * ours. From a guest they move over to the ordinary stack and go on like any exception. */
entry_ist:
        SAVE_REGISTERS
        GET_CPUINFO %rdi
        testb $3, REG_CS(%rsp)
        jz 1f
        mov %rdi, %rax
        mov %rsp, %rsi
        mov $FRAME_WORDS, %ecx
        cld
        rep movsq
        mov %rax, %rsp
        LOAD_CR3 CPUINFO_HV_CR3, %rsp, %rcx
        CLEAR_REGISTERS
        mov %rsp, %rdi
        call hv_guest_exception
        jmp .Lreload_vcpu
        /* From ourselves, perhaps on the last instructions before the guest: CR3 as it was. */
1:      mov %cr3, %r12
        LOAD_CR3 CPUINFO_HV_CR3, %rdi, %rcx
        cld
        mov %rsp, %rdi
        call hv_own_exception
        mov %r12, %cr3
        jmp restore_hv

/* Leaves whatever the stack holds: exit work for the current vCPU, then to its guest. */
        .globl hv_resume
hv_resume:
        GET_CPUINFO %rdi
        mov %rdi, %rsp
        jmp .Lexit_work

/* void hv_switch_stack_and_call(void* stack, void (*function)()) */
        .globl hv_switch_stack_and_call
hv_switch_stack_and_call:
        mov %rdi, %rsp
        xor %ebp, %ebp
        CALL_REGISTER rsi
        ud2

/* One stub a vector, 16 bytes each; entry_stubs + 16 * vector. */
        .balign 16
        .globl entry_stubs
entry_stubs:
        .set vector, 0
        .rept 256
        .balign 16
        .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
        push $0
        .endif
        movl $vector, 4(%rsp)
        .if vector == 1 || vector == 2 || vector == 8 || vector == 18
        jmp entry_ist
        .elseif vector == 14
        jmp entry_page_fault
        .else
        jmp entry_common
        .endif
        .set vector, vector + 1
        .endr

/* What the compiler calls for an indirect branch (-mindirect-branch=thunk-extern), and we by
 * CALL_REGISTER: a return, whose prediction leads into the loop until the stack says otherwise. */
        .section .text.thunk, "ax", @progbits
.macro THUNK name
        .balign 16
        .globl __x86_indirect_thunk_\name
__x86_indirect_thunk_\name:
        call 2f
1:      pause
        lfence
        jmp 1b
2:      mov %\name, (%rsp)
        ret
.endm
        .irp name, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
        THUNK \name
        .endr
