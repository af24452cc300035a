/* From the firmware's 64-bit mode to the multiboot 2 entry, 32-bit protected mode without paging
 * (specification 2.0, 3.3). Runs as a copy below 4 GiB, away from where the image goes, with a
 * pointer to a Departure in RDI: from the far return on, neither the firmware's stack nor its page
 * tables are used, so what they lie in may be overwritten.
 */
        .section .rodata
        .balign 16
        .globl departure_code, departure_code_end
departure_code:
        .code64
        cli
        cld
        lea     gdt(%rip), %rax
        mov     %edi, %ebx
        sub     $16, %rsp
        movw    $gdt_end - gdt - 1, (%rsp)
        mov     %rax, 2(%rsp)
        lgdt    (%rsp)
        lea     without_long_mode(%rip), %rax
        pushq   $8
        push    %rax
        lretq

        .code32
without_long_mode:
        mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %fs
        mov     %eax, %gs
        mov     %eax, %ss
        /* First what may not outlive paging (PCID), or keeps CR0.WP from being cleared (CET). LA57
         * may not change as long as paging is on (SDM 3A, 2.5). */
        mov     %cr4, %eax
        and     $(1 << 5 | 1 << 12), %eax       /* PAE, LA57 */
        mov     %eax, %cr4
        mov     $0x11, %eax                     /* ET, PE */
        mov     %eax, %cr0
        mov     $0xc0000080, %ecx               /* EFER: LME off */
        rdmsr
        and     $~(1 << 8), %eax
        wrmsr
        xor     %eax, %eax
        mov     %eax, %cr4

        mov     0(%ebx), %esi
        mov     4(%ebx), %edi
        mov     8(%ebx), %ecx
        rep movsb
        mov     12(%ebx), %ecx
        rep stosb                               /* EAX is 0 */
        mov     16(%ebx), %edx
        mov     20(%ebx), %ebx
        mov     $0x36d76289, %eax
        jmp     *%edx

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9a000000ffff              /* 8: 32-bit code, 4 GiB */
        .quad   0x00cf92000000ffff              /* 16: data */
gdt_end:
departure_code_end:

        .section .note.GNU-stack, "", @progbits
