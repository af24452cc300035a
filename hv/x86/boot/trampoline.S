/* Where another CPU begins: copied to a page below 1 MiB (its CS:IP after SIPI is page:0), filled
 * in by smp.cpp. Real mode -> protected mode -> long mode on temporary page tables that show both
 * this page at its physical address and the hypervisor; then onto the CPU's own stack.
 * The order of the steps is Intel's manual, volume 3, 10.8.5. */
#define OFF(symbol) ((symbol) - trampoline_start)
#define EFER 0xc0000080

        .section .rodata.trampoline, "a", @progbits
        .balign 16
        .globl trampoline_start
        .hidden trampoline_start
trampoline_start:
        .code16
        cli
        cld
        mov %cs, %ax
        mov %ax, %ds
        xor %ebx, %ebx
        mov %ax, %bx
        shl $4, %ebx                    /* ebx: linear address of this page */
        lgdtl OFF(gdt_pointer)
        mov $0x11, %eax                 /* PE, ET */
        mov %eax, %cr0
        ljmpl *OFF(far_to_32)

        .code32
enter_32:
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov $0x20, %eax                 /* PAE */
        mov %eax, %cr4
        mov OFF(trampoline_cr3)(%ebx), %eax
        mov %eax, %cr3
        mov $EFER, %ecx
        rdmsr
        or $0x901, %eax                 /* NXE, LME, SCE, as on the boot CPU (head.S) */
        wrmsr
        mov $0x80050033, %eax           /* PG AM WP NE ET MP PE */
        mov %eax, %cr0
        ljmp *OFF(far_to_64)(%ebx)

        .code64
enter_64:
        xor %eax, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %fs
        mov %eax, %gs
        mov OFF(trampoline_stack)(%rbx), %rsp
        mov OFF(trampoline_cpu)(%rbx), %edi
        xor %ebp, %ebp
        mov OFF(trampoline_entry)(%rbx), %rax
        call *%rax                      /* never returns */
        ud2

        .balign 8
gdt:    .quad 0
        .quad 0x00cf9a000000ffff        /* 08: code, 32 bit */
        .quad 0x00cf92000000ffff        /* 10: data */
        .quad 0x00af9a000000ffff        /* 18: code, 64 bit */
gdt_end:

/* struct TrampolineData in smp.cpp; the first three fields hold offsets here, addresses there. */
        .balign 8
        .globl trampoline_data
        .hidden trampoline_data
trampoline_data:
far_to_32:
        .long OFF(enter_32)
        .short 0x08
        .short 0
far_to_64:
        .long OFF(enter_64)
        .short 0x18
gdt_pointer:                            /* its base is at an address divisible by four */
        .short gdt_end - gdt - 1
        .long OFF(gdt)
trampoline_cr3:
        .long 0
trampoline_stack:
        .quad 0
trampoline_entry:
        .quad 0
trampoline_cpu:
        .long 0
        .globl trampoline_end
        .hidden trampoline_end
trampoline_end:
