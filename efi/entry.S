/* Where the firmware enters: relocates the program to where it lies, and calls efi_main().
 * It is linked at 0, so what has to be added is where it begins. The two arguments stay in RCX and
 * RDX, as the firmware's calling convention has them.
 */
        .section .text.entry, "ax", @progbits
        .globl efi_entry
efi_entry:
        lea     image_base(%rip), %r8
        lea     relocations(%rip), %r9
        lea     relocations_end(%rip), %r10
1:      cmp     %r10, %r9
        jae     2f
        mov     (%r9), %rax                     /* Elf64_Rela: place, kind, addend */
        mov     16(%r9), %r11
        add     %r8, %r11
        mov     %r11, (%r8, %rax)
        add     $24, %r9
        jmp     1b
2:      jmp     efi_main

/* The hypervisor, without its debugging symbols. */
        .section .rodata
        .balign 16
        .globl hypervisor_image, hypervisor_image_end
hypervisor_image:
        .incbin "xenolith.stripped"
hypervisor_image_end:

/* One that says nothing: without such a table, loaders take a program for one that cannot be moved. */
        .section .reloc, "a", @progbits
        .long   0, 12
        .short  0, 0

        .section .note.GNU-stack, "", @progbits
