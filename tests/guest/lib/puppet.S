// What the second domain runs: it does what Domain 0 writes into the page both see, and yields
// otherwise. Position-independent, without a stack; rbx holds the page (Mailbox in child.hpp).

    .text
    .globl puppet_start, puppet_upcall, puppet_end
puppet_start:
1:  incq 72(%rbx)                       // turns
    mov 0(%rbx), %rcx
    cmp 8(%rbx), %rcx
    jne 2f
    mov $29, %eax                       // sched_op yield
    xor %edi, %edi
    xor %esi, %esi
    syscall
    jmp 1b
2:  mov 24(%rbx), %rax
    mov 32(%rbx), %rdi
    mov 40(%rbx), %rsi
    cmp $0x1000, %rax
    je read
    cmp $0x1001, %rax
    je write
    cmp $0x1002, %rax
    je invalid
    cmp $0x1003, %rax
    je in_port
    cmp $0x1004, %rax
    je spin
    cmp $0x1005, %rax
    je break
    cmp $0x1006, %rax
    je jump
    cmp $0x1007, %rax
    je echo
    mov 48(%rbx), %rdx
    mov 56(%rbx), %r10
    mov 64(%rbx), %r8
    syscall
3:  mov %rax, 16(%rbx)
    mov 0(%rbx), %rcx
    mov %rcx, 8(%rbx)
    jmp 1b

read:
    mov (%rdi), %rax
    jmp 3b
write:
    mov %rsi, (%rdi)
    jmp 3b
invalid:
    ud2
in_port:
    mov %edi, %edx
    inb %dx, %al
    jmp 3b
break:
    int3
    jmp 3b
jump:
    jmp *%rdi                           // with rsi as it came, never to return
spin:
    incq 72(%rbx)
    jmp spin

// Sleeps, and answers each event by one: rdi = the shared info, rsi = an evtchn_send_t. For good.
echo:
    mov %rdi, %r12
    mov %rsi, %r13
    mov %rsp, %r14
4:  mov $29, %eax                       // sched_op block, which lets upcalls in
    mov $1, %edi
    xor %esi, %esi
    syscall
    jmp 4b
puppet_upcall:                          // nobody goes back: the next block begins anew
    mov %r14, %rsp
    movb $0, 0(%r12)                    // vcpu_info[0].evtchn_upcall_pending
    movq $0, 8(%r12)                    // .evtchn_pending_sel
    movq $0, 2048(%r12)                 // evtchn_pending[0]
    mov $32, %eax                       // event_channel_op send
    mov $4, %edi
    mov %r13, %rsi
    syscall
    jmp 4b
puppet_end:

    .section .note.GNU-stack, "", @progbits
