// The timed paths. Each returns the low 32 bits of two rdtsc's difference; what lies between them is
// the operation and the moves that rdtsc's own use of eax and edx forces, and time_nothing has those
// moves too. rbx holds the first reading: no operation may lose it.

// uint32_t time_hypercall(number, a1, a2, a3, a4)
    .text
    .globl time_hypercall, time_nothing, time_read_cr0, time_iret, time_page_fault, page_fault_entry
    .globl time_page_fault_and_back, page_fault_back_entry, system_call_entry
    .globl time_event_round, event_round_entry
time_hypercall:
    push %rbx
    push %rbp
    push %r12
    mov %rdi, %rbp                      // number
    mov %rcx, %r12                      // a3: rdx is rdtsc's
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %r8, %r10
    rdtsc
    mov %eax, %ebx
    mov %r12, %rdx
    mov %ebp, %eax
    syscall
    mov %rax, last_result(%rip)
    rdtsc
    sub %ebx, %eax
    pop %r12
    pop %rbp
    pop %rbx
    ret

time_nothing:
    push %rbx
    push %rbp
    push %r12
    xor %r12, %r12
    xor %ebp, %ebp
    rdtsc
    mov %eax, %ebx
    mov %r12, %rdx
    mov %ebp, %eax
    mov %rax, last_result(%rip)
    rdtsc
    sub %ebx, %eax
    pop %r12
    pop %rbp
    pop %rbx
    ret

time_read_cr0:
    push %rbx
    push %rbp
    push %r12
    rdtsc
    mov %eax, %ebx
    mov %r12, %rdx
    mov %cr0, %rax
    mov %rax, last_result(%rip)
    rdtsc
    sub %ebx, %eax
    pop %r12
    pop %rbp
    pop %rbx
    ret

// uint32_t time_iret(uint16_t cs, uint16_t ss): kernel mode to kernel mode, upcalls masked.
time_iret:
    push %rbx
    push %rbp
    push %r12
    mov %rsp, %r12
    movzwl %di, %edi
    movzwl %si, %esi
    push %rsi                           // ss
    push %r12                           // rsp
    push $0x002                         // rflags, IF clear: upcalls stay masked
    push %rdi                           // cs
    lea 1f(%rip), %rax
    push %rax                           // rip
    push $0                             // iret_context.flags
    push $0                             // rcx
    push $0                             // r11
    push $23                            // rax
    mov $23, %ebp
    rdtsc
    mov %eax, %ebx
    mov %r12, %rdx
    mov %ebp, %eax
    syscall
1:  mov %rax, last_result(%rip)
    rdtsc
    sub %ebx, %eax
    pop %r12
    pop %rbp
    pop %rbx
    ret

// uint32_t time_page_fault(address): from the faulting load to the guest's handler.
time_page_fault:
    push %rbx
    push %rbp
    push %r12
    mov %rsp, %rbp
    rdtsc
    mov %eax, %ebx
    mov %r12, %rdx
    mov %ebp, %eax
    mov (%rdi), %rax
    ud2
page_fault_entry:
    mov %rax, last_result(%rip)
    rdtsc
    sub %ebx, %eax
    mov %rbp, %rsp
    pop %r12
    pop %rbp
    pop %rbx
    ret

// uint32_t time_page_fault_and_back(address): the handler returns behind the faulting load.
time_page_fault_and_back:
    push %rbx
    push %rbp
    push %r12
    rdtsc
    mov %eax, %ebx
    mov %r12, %rdx
    mov %ebp, %eax
    mov (%rdi), %rax
1:  mov %rax, last_result(%rip)
    rdtsc
    sub %ebx, %eax
    pop %r12
    pop %rbp
    pop %rbx
    ret
page_fault_back_entry:
    lea 1b(%rip), %rax
    mov %rax, 24(%rsp)                  // rip, behind rcx, r11 and the error code
    pop %rcx
    pop %r11
    movq $0, (%rsp)                     // iret_context.flags, where the error code was
    jmp 2f

// The callback of a system call that does nothing but return.
system_call_entry:
    pop %rcx
    pop %r11
    push $0x100                         // VGCF_in_syscall: rcx and r11 need not be kept
2:  push %rcx
    push %r11
    push %rax
    mov $23, %eax
    syscall
    ud2

// void probe_paths(): ways into the hypervisor, for who watches from outside (defences.py): a null
// hypercall, and a privileged instruction. Whatever register can, holds PROBE_MARK; direction and
// alignment-check flag are set.
#define PROBE_MARK 0x5ec4e70000000000
.macro mark_registers
    .irp reg, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    movabs $PROBE_MARK, %\reg
    .endr
    pushf
    orl $0x40400, (%rsp)
    popf
.endm
    .globl probe_paths, probe_hypercall, probe_after_hypercall, probe_fault, probe_after_fault
probe_paths:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mark_registers
    mov $17, %eax                       // xen_version
    xor %edi, %edi                      // XENVER_version
probe_hypercall:
    syscall
probe_after_hypercall:
    mark_registers
probe_fault:
    mov %cr0, %rax
probe_after_fault:
    pushf
    andl $~0x40400, (%rsp)
    popf
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

// uint32_t time_event_round(evtchn_send_t*): an event there, then sleep; to the upcall of the answer.
time_event_round:
    push %rbx
    push %rbp
    push %r12
    mov %rsp, %rbp
    mov %rdi, %r12
    rdtsc
    mov %eax, %ebx
    mov %r12, %rsi
    mov $4, %edi                        // EVTCHNOP_send
    mov $32, %eax
    syscall
    xor %esi, %esi
1:  mov $1, %edi                        // SCHEDOP_block, which lets upcalls in
    mov $29, %eax
    syscall
    jmp 1b
event_round_entry:
    rdtsc
    sub %ebx, %eax
    mov %rbp, %rsp
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .bss
    .balign 8
    .globl last_result
last_result:
    .skip 8
    .section .note.GNU-stack, "", @progbits
