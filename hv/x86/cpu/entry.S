/* The way in and the way out. One stack frame (cpu_user_regs) for every reason to enter:
 *
 *   SYSCALL stub of the CPU -> entry_syscall -> hv_syscall(regs)    -> restore_guest
 *   exception               -> entry_common  -> hv_exception(regs)  -> restore_guest / restore_hv
 *   interrupt               -> entry_common  -> hv_irq_entry(regs)  -> the same
 *
 * Only this section and the stack are mapped while a guest under page-table isolation runs; the
 * first thing on the way in is thus CR3, and the last thing on the way out. Registers are cleared
 * on entry, so that no guest value is left for speculation to use.
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

/* From the per-CPU stub: the stack holds ss and rsp of the guest; rcx = rip, r11 = rflags. */
        .globl entry_syscall
entry_syscall:
        push %r11
        push $SEL_GUEST_CS64
        push %rcx
        push $0
        movl $VECTOR_SYSCALL, 4(%rsp)
.Lsyscall:
        mov (CPUINFO_SCRATCH - REG_ERROR)(%rsp), %rax
        SAVE_REGISTERS
        mov CPUINFO_HV_CR3(%rsp), %rcx
        test %rcx, %rcx
        jz 1f
        mov %rcx, %cr3
1:      mov %rsp, %rdi
        CLEAR_REGISTERS
        call hv_syscall
        /* fall through */

/* The frame at the top of the stack goes back to the guest. */
        .globl restore_guest
restore_guest:
        cmpl $VECTOR_SYSCALL, REG_VECTOR(%rsp)
        jne .Liret
        /* SYSRET takes rip from rcx without a check that is safe on every CPU, and cannot restore
         * TF or RF: anything unusual leaves by IRET. */
        mov REG_RIP(%rsp), %rcx
        mov %rcx, %rax
        shl $16, %rax
        sar $16, %rax
        cmp %rcx, %rax
        jne .Liret
        cmpw $SEL_GUEST_CS64, REG_CS(%rsp)
        jne .Liret
        testl $0x10100, REG_RFLAGS(%rsp)
        jnz .Liret
        mov CPUINFO_GUEST_CR3(%rsp), %rcx
        test %rcx, %rcx
        jz 1f
        mov %rcx, %cr3
1:      RESTORE_REGISTERS
        mov 8(%rsp), %rcx               /* rip */
        mov 24(%rsp), %r11              /* rflags */
        mov 32(%rsp), %rsp
        sysretq

.Liret: mov CPUINFO_GUEST_CR3(%rsp), %rcx
        test %rcx, %rcx
        jz 1f
        mov %rcx, %cr3
1:      RESTORE_REGISTERS
        add $8, %rsp
        .globl guest_iret
guest_iret:                             /* may fault: exception.cpp knows this address */
        iretq

/* SYSCALL of 32-bit code, which only guests' user code can be. */
        .globl entry_syscall32
entry_syscall32:
        push %r11
        push $SEL_GUEST_CS32
        push %rcx
        push $0
        movl $VECTOR_SYSCALL32, 4(%rsp)
        jmp .Lsyscall

/* Exceptions and interrupts: the stubs have made the frame complete up to entry_vector. */
entry_common:
        SAVE_REGISTERS
        GET_CPUINFO %rbx
        mov CPUINFO_HV_CR3(%rbx), %rcx
        test %rcx, %rcx
        jz 1f
        mov %rcx, %cr3
1:      cld
        mov %rsp, %rdi
        CLEAR_REGISTERS
        cmpl $32, REG_VECTOR(%rsp)
        jae 2f
        call hv_exception
        jmp 3f
2:      call hv_irq_entry
3:      testb $3, REG_CS(%rsp)
        jnz restore_guest
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
        mov CPUINFO_HV_CR3(%rsp), %rcx
        test %rcx, %rcx
        jz 2f
        mov %rcx, %cr3
2:      mov %rsp, %rdi
        CLEAR_REGISTERS
        call hv_exception
        jmp restore_guest
        /* From ourselves, perhaps on the last instructions before the guest: CR3 as it was. */
1:      mov %cr3, %r12
        mov CPUINFO_HV_CR3(%rdi), %rcx
        test %rcx, %rcx
        jz 3f
        mov %rcx, %cr3
3:      cld
        mov %rsp, %rdi
        call hv_exception
        mov %r12, %cr3
        jmp restore_hv

/* Leaves whatever the stack holds: exit work for the current vCPU, then to its guest. */
        .globl hv_resume
hv_resume:
        GET_CPUINFO %rdi
        mov %rdi, %rsp
        call hv_exit_work
        jmp restore_guest

/* void hv_switch_stack_and_call(void* stack, void (*function)()) */
        .globl hv_switch_stack_and_call
hv_switch_stack_and_call:
        mov %rdi, %rsp
        xor %ebp, %ebp
        call *%rsi
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
        .else
        jmp entry_common
        .endif
        .set vector, vector + 1
        .endr
