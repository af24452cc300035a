/* From the loader to hv_start(): 32-bit protected mode without paging -> long mode at our address.
 * Multiboot 1 with the addresses in the header (so that a 64-bit ELF is accepted), multiboot 2.
 */
#define OFFSET 0xffff82d040000000
#define PHYS(symbol) ((symbol) - OFFSET)

        .section .multiboot, "ax", @progbits
        .code32
        .globl multiboot_entry
multiboot_entry:
        jmp start32

        .balign 4
multiboot1:                             /* flags: page-align modules, memory map, addresses */
        .long 0x1BADB002
        .long 0x00010003
        .long -(0x1BADB002 + 0x00010003)
        .long PHYS(multiboot1)
        .long PHYS(image_start)
        .long PHYS(data_end)
        .long PHYS(image_end)
        .long PHYS(multiboot_entry)

        .balign 8
multiboot2:
        .long 0xE85250D6, 0, multiboot2_end - multiboot2
        .long -(0xE85250D6 + (multiboot2_end - multiboot2))
        .balign 8
        .short 2, 0                     /* addresses */
        .long 24, PHYS(multiboot2), PHYS(image_start), PHYS(data_end), PHYS(image_end)
        .balign 8
        .short 3, 0                     /* entry address */
        .long 12, PHYS(multiboot_entry)
        .balign 8
        .short 5, 1                     /* a screen of any size, if there is one (optional) */
        .long 20, 0, 0, 0
        .balign 8
        .short 6, 0                     /* modules on page boundaries */
        .long 8
        .balign 8
        .short 0, 0
        .long 8
multiboot2_end:

        .section .boot.text, "ax", @progbits
        .code32
start32:
        cli
        cld
        mov $PHYS(boot_stack_end) - 16, %esp
        mov %eax, %edi                  /* loader's magic and information, for hv_start */
        mov %ebx, %esi

        mov $0x80000000, %eax
        cpuid
        cmp $0x80000001, %eax
        jb no_long_mode
        mov $0x80000001, %eax
        cpuid
        test $(1 << 29), %edx
        jz no_long_mode
        test $(1 << 20), %edx
        jz no_nx

        /* The first 4 GiB in 2 MiB pages, seen three times: where we are, in the image's window
         * and in the direct map. hv_start() replaces them. */
        mov $PHYS(boot_l2), %ebx
        mov $0xe3, %eax                 /* present, write, accessed, dirty, large */
        mov $2048, %ecx
1:      mov %eax, (%ebx)
        movl $0, 4(%ebx)
        add $0x200000, %eax
        add $8, %ebx
        loop 1b
        mov $PHYS(boot_l2) + 0x63, %eax
        mov %eax, PHYS(boot_l3_low)
        mov %eax, PHYS(boot_l3_image) + 321 * 8
        add $0x1000, %eax
        mov %eax, PHYS(boot_l3_low) + 8
        add $0x1000, %eax
        mov %eax, PHYS(boot_l3_low) + 16
        add $0x1000, %eax
        mov %eax, PHYS(boot_l3_low) + 24
        movl $PHYS(boot_l3_low) + 0x63, PHYS(boot_l4)
        movl $PHYS(boot_l3_low) + 0x63, PHYS(boot_l4) + 262 * 8
        movl $PHYS(boot_l3_image) + 0x63, PHYS(boot_l4) + 261 * 8

        mov $PHYS(boot_l4), %eax
        mov %eax, %cr3
        mov $0x20, %eax                 /* PAE */
        mov %eax, %cr4
        mov $0xc0000080, %ecx           /* EFER: NXE, LME, SCE */
        rdmsr
        or $0x901, %eax
        wrmsr
        mov $0x80050033, %eax           /* PG AM WP NE ET MP PE */
        mov %eax, %cr0
        lgdt PHYS(boot_gdt_pointer)
        ljmp $8, $PHYS(start64_low)

no_long_mode:
        mov $PHYS(text_no_long_mode), %esi
        jmp refuse
no_nx:
        mov $PHYS(text_no_nx), %esi
refuse:                                 /* says why on com1 and stops */
        mov $0x3f8, %edx
1:      lodsb
        test %al, %al
        jz 2f
        out %al, %dx
        jmp 1b
2:      hlt
        jmp 2b

        .section .boot.rodata, "a", @progbits
text_no_long_mode:
        .asciz "Xenolith: this processor has no 64-bit mode; a 64-bit x86 processor is needed.\r\n"
text_no_nx:
        .asciz "Xenolith: this processor has no NX bit, or the firmware hides it; switch it on in the firmware's setup.\r\n"
        .balign 8
boot_gdt:
        .quad 0
        .quad 0x00af9a000000ffff
        .quad 0x00cf92000000ffff
boot_gdt_end:
boot_gdt_pointer:
        .short boot_gdt_end - boot_gdt - 1
        .quad PHYS(boot_gdt)

        .section .boot.text, "ax", @progbits
        .code64
start64_low:
        movabs $start64, %rax
        jmp *%rax

        .section .text, "ax", @progbits
start64:
        mov $0x10, %eax
        mov %eax, %ss
        xor %eax, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %fs
        mov %eax, %gs
        lea boot_stack_end(%rip), %rsp
        sub $CPUINFO_BYTES, %rsp
        xor %ebp, %ebp
        mov %edi, %edi
        mov %esi, %esi
        call hv_start
        ud2

        .set CPUINFO_BYTES, 256

        /* Aligned to its size like every CPU's stack (xenolith.lds puts it first in an aligned
         * .bss), so that cpu_info() works from the start. */
        .section .bss.boot_stack, "aw", @nobits
        .balign 4096
        .globl boot_stack
boot_stack:
        .skip 0x8000
        .globl boot_stack_end
boot_stack_end:
        .section .bss.page_aligned, "aw", @nobits
        .balign 4096
        .globl boot_l4
boot_l4:
        .skip 4096
boot_l3_low:
        .skip 4096
boot_l3_image:
        .skip 4096
boot_l2:
        .skip 4 * 4096
