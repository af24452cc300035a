// A multiboot image that writes the TSC of its first instruction to com1 and resets the machine: the
// firmware's share of a boot, to be taken off what a hypervisor is charged with.
    .code32
    .section .text
    .balign 4
    .long 0x1badb002, 0, -0x1badb002    // multiboot header: magic, flags, checksum
    .globl _start
_start:
    rdtsc
    lea stack_end, %esp
    mov %eax, %esi
    mov %edx, %edi
    mov $0x3f8, %dx
    mov %edi, %ebx
    call hex
    mov %esi, %ebx
    call hex
    mov $'\n', %al
    out %al, %dx
    mov $0xfe, %al                      // the keyboard controller's reset line
    out %al, $0x64
1:  hlt
    jmp 1b

// Writes ebx as eight hexadecimal digits to the port in dx.
hex:
    mov $8, %ecx
2:  rol $4, %ebx
    mov %bl, %al
    and $15, %al
    add $'0', %al
    cmp $'9', %al
    jbe 3f
    add $('a' - '0' - 10), %al
3:  out %al, %dx
    loop 2b
    ret

    .bss
    .skip 256
stack_end:
    .section .note.GNU-stack, "", @progbits
