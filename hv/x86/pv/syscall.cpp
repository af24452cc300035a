// SYSCALL from a PV guest, beside what entry.S does itself: of its kernel it is a hypercall, of its
// user mode a system call to its kernel.
#include "arch/cpu.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/hypercall/table.hpp"
#include "hv/x86/cpu/offsets.h"
#include "hv/x86/pv/traps.hpp"

using namespace hv;

// What entry.S looks at in a vCPU and calls without asking C++.
static_assert(offsetof(Vcpu, info) == VCPU_INFO && sizeof(std::atomic<vcpu_info*>) == 8);
static_assert(offsetof(Vcpu, arch) + offsetof(arch::VcpuState, pv) +
                  offsetof(arch::PvVcpu, kernel_mode) ==
              VCPU_KERNEL_MODE);
static_assert(offsetof(vcpu_info, evtchn_upcall_pending) == VCPU_INFO_PENDING);
static_assert(offsetof(vcpu_info, evtchn_upcall_mask) == VCPU_INFO_MASK);
static_assert(kHypercalls == HYPERCALLS && static_cast<int>(Errno::kENOSYS) == ENOSYS);

/// The guest is to issue the call again, with the arguments that tell how far it got; rax still is
/// the number.
extern "C" void hv_continue_hypercall(arch::Registers* regs) {
    constexpr uint64_t kSyscallBytes = 2;  // the instruction's length
    const Continuation& c = arch::current().continuation;
    uint64_t* const argument[] = {&regs->rdi, &regs->rsi, &regs->rdx, &regs->r10, &regs->r8};
    for (unsigned i = 0; i < c.count; ++i) *argument[i] = c.args[i];
    regs->rip -= kSyscallBytes;
}

extern "C" void hv_system_call(arch::Registers* regs) {
    if (regs->entry_vector == VECTOR_SYSCALL32)
        pv::inject_syscall32();
    else
        pv::inject_syscall();
}
