// What a CPU knows of itself, at the top of its stack, found by masking the stack pointer: a PV
// guest owns both GS bases, so %gs cannot lead there.
//
//   stack + 0x8000 ┌────────────────────────────┐
//                  │ CpuInfo: cpu, current, CR3s│
//                  │          guest registers   │ <- RSP0 points at regs.es
//                  ├────────────────────────────┤ <- stack of the hypervisor's functions
//                  │            …               │
//   stack + 0x4000 ├────────────────────────────┤
//                  │ guard page (not mapped)    │
//                  │ #DB, #MC, NMI, #DF: one page each (IST)
//   stack          └────────────────────────────┘
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/vcpu.hpp"
#include "base/shared_lock.hpp"
#include "hv/x86/cpu/offsets.h"

namespace hv {

struct Vcpu;

namespace cpu {

struct CpuInfo {
    arch::Registers regs;          ///< of the guest that runs here
    uint32_t cpu;                  ///< CpuId
    base::LockStripe lock_stripe;  ///< of this CPU
    Vcpu* current;
    /// Page-table isolation: what the entry code loads, and what it loads on the way back. 0: off.
    uint64_t hv_cr3;
    uint64_t guest_cr3;
    const void* work;  ///< this CPU's word of pending softirqs
    uint64_t reserved2;
};

static_assert(offsetof(arch::Registers, r15) == REG_R15);
static_assert(offsetof(arch::Registers, r14) == REG_R14);
static_assert(offsetof(arch::Registers, r13) == REG_R13);
static_assert(offsetof(arch::Registers, r12) == REG_R12);
static_assert(offsetof(arch::Registers, rbp) == REG_RBP);
static_assert(offsetof(arch::Registers, rbx) == REG_RBX);
static_assert(offsetof(arch::Registers, r10) == REG_R10);
static_assert(offsetof(arch::Registers, r9) == REG_R9);
static_assert(offsetof(arch::Registers, r8) == REG_R8);
static_assert(offsetof(arch::Registers, rax) == REG_RAX);
static_assert(offsetof(arch::Registers, rdx) == REG_RDX);
static_assert(offsetof(arch::Registers, rsi) == REG_RSI);
static_assert(offsetof(arch::Registers, rdi) == REG_RDI);
static_assert(offsetof(arch::Registers, error_code) == REG_ERROR);
static_assert(offsetof(arch::Registers, entry_vector) == REG_VECTOR);
static_assert(offsetof(arch::Registers, rip) == REG_RIP);
static_assert(offsetof(arch::Registers, rflags) == REG_RFLAGS);
static_assert(offsetof(arch::Registers, rsp) == REG_RSP);
static_assert(offsetof(arch::Registers, ss) == REG_SS);
static_assert(offsetof(arch::Registers, es) == REG_ES);
static_assert(sizeof(arch::Registers) == REG_SIZE);
static_assert(offsetof(CpuInfo, current) == CPUINFO_CURRENT);
static_assert(offsetof(CpuInfo, hv_cr3) == CPUINFO_HV_CR3);
static_assert(offsetof(CpuInfo, guest_cr3) == CPUINFO_GUEST_CR3);
static_assert(offsetof(CpuInfo, work) == CPUINFO_WORK);
static_assert(sizeof(CpuInfo) == CPUINFO_SIZE);
// The processor aligns RSP0 to 16 before it pushes (AMD64 manual vol. 2, 8.9.3).
static_assert((STACK_SIZE - sizeof(CpuInfo) + offsetof(arch::Registers, es)) % 16 == 0);

inline CpuInfo& cpu_info() {
    uintptr_t sp;
    asm("mov %%rsp, %0" : "=r"(sp));
    return *reinterpret_cast<CpuInfo*>((sp | (STACK_SIZE - 1)) + 1 - sizeof(CpuInfo));
}

/// The registers of the guest that entered the hypervisor on this CPU.
inline arch::Registers& guest_registers() {
    return cpu_info().regs;
}

}  // namespace cpu
}  // namespace hv
