// SYSCALL from a PV guest: of its kernel a hypercall, of its user a system call to its kernel.
#include "arch/cpu.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/hypercall/table.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/x86/cpu/resume.hpp"
#include "hv/x86/pv/traps.hpp"

namespace hv::pv {
namespace {

constexpr uint64_t kSyscallBytes = 2;  // the instruction's length

/// The guest is to issue the call again, with the arguments that tell how far it got.
void rewind(arch::Registers& regs, const Continuation& c, uint64_t number) {
    uint64_t* const argument[] = {&regs.rdi, &regs.rsi, &regs.rdx, &regs.r10, &regs.r8};
    for (unsigned i = 0; i < c.count; ++i) *argument[i] = c.args[i];
    regs.rax = number;
    regs.rip -= kSyscallBytes;
}

void hypercall(Vcpu& vcpu, arch::Registers& regs) {
    const uint64_t number = regs.rax;
    const HypercallHandler handler = find_hypercall(number);
    if (!handler) {
        regs.rax = static_cast<uint64_t>(-static_cast<int64_t>(Errno::kENOSYS));
        return;
    }
    const Outcome outcome = handler(regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8);
    if (outcome.again)
        rewind(regs, vcpu.continuation, number);
    else
        regs.rax = static_cast<uint64_t>(outcome.value);
}

}  // namespace
}  // namespace hv::pv

extern "C" void hv_syscall(hv::arch::Registers* regs) {
    hv::Vcpu& vcpu = hv::arch::current();
    if (regs->entry_vector == VECTOR_SYSCALL32)
        hv::pv::inject_syscall32();
    else if (vcpu.arch.pv.kernel_mode)
        hv::pv::hypercall(vcpu, *regs);
    else
        hv::pv::inject_syscall();
    hv_exit_work();
}
