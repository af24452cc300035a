/* Offsets and constants that assembly and C++ share; cpu_info.hpp asserts them. */
#pragma once

#define REG_R15 0
#define REG_R14 8
#define REG_R13 16
#define REG_R12 24
#define REG_RBP 32
#define REG_RBX 40
#define REG_R10 56
#define REG_R9 64
#define REG_R8 72
#define REG_RAX 80
#define REG_RDX 96
#define REG_RSI 104
#define REG_RDI 112
#define REG_ERROR 120
#define REG_VECTOR 124
#define REG_RIP 128
#define REG_CS 136
#define REG_RFLAGS 144
#define REG_RSP 152
#define REG_SS 160
#define REG_ES 168
#define REG_SIZE 200
#define FRAME_WORDS 21 /* r15 … ss */

#define CPUINFO_CURRENT 208
#define CPUINFO_HV_CR3 216
#define CPUINFO_GUEST_CR3 224
#define CPUINFO_WORK 232
#define CPUINFO_SIZE 248

/* Vcpu, and the vcpu_info that the guest shares */
#define VCPU_INFO 16
#define VCPU_KERNEL_MODE 24
#define VCPU_INFO_PENDING 0
#define VCPU_INFO_MASK 1

#define HYPERCALLS 64
#define ENOSYS 38

#define STACK_SHIFT 15
#define STACK_SIZE 0x8000

/* regs.entry_vector: a vector below 256, or these */
#define VECTOR_SYSCALL 0x100
#define VECTOR_SYSCALL32 0x101 /* from 32-bit code, by way of CSTAR */

#define SEL_HV_CS 0xe008
#define SEL_HV_DS 0xe010
#define SEL_GUEST_CS64 0xe033
#define SEL_GUEST_CS32 0xe023
#define SEL_GUEST_SS 0xe02b
