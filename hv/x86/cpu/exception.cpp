// Every exception and interrupt comes through here: what a guest did goes to pv/, what we did on
// purpose to its fixup, and what we did by mistake ends in a panic.
#include "arch/cpu.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/x86/cpu/extable.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/resume.hpp"
#include "hv/x86/irq/vectors.hpp"
#include "hv/x86/pv/isolation.hpp"
#include "hv/x86/pv/trap_entry.hpp"
#include "hv/x86/pv/traps.hpp"

extern "C" {
struct ExtableEntry {
    uint64_t fault, go_on;
};
extern const ExtableEntry extable_start[], extable_end[];
extern char guest_iret[];
void hv_interrupt(uint8_t vector);
}

namespace hv::cpu {

uint64_t find_fixup(uint64_t rip) {
    for (const ExtableEntry* e = extable_start; e < extable_end; ++e)
        if (e->fault == rip) return e->go_on;
    return 0;
}

namespace {

using arch::Registers;

constexpr unsigned kVectorDebug = 1, kVectorNmi = 2, kVectorDoubleFault = 8, kVectorPageFault = 14,
                   kVectorMachineCheck = 18, kVectorInt80 = 0x80;

bool from_guest(const Registers& regs) {
    return regs.cs & 3;
}

/// IRET to the guest faulted: its frame at the top of the stack still has rip … ss, but our own
/// frame has been pushed over the registers, which it holds in turn. Put them back, and let the
/// guest have the fault.
[[noreturn]] void guest_iret_failed(Registers& nested) {
    Registers& guest = cpu_info().regs;
    const auto vector = static_cast<uint8_t>(nested.entry_vector);
    const uint32_t error = nested.error_code;
    __builtin_memmove(&guest, &nested, REG_ERROR);
    guest.error_code = 0;
    guest.entry_vector = 0;
    pv::inject_return_fault(vector, error, read_cr2());
    hv_resume();
}

void hypervisor_exception(Registers& regs) {
    const uint8_t vector = regs.entry_vector;
    if (vector == kVectorNmi) arch::stay_if_stopped();
    if (vector == kVectorNmi || vector == kVectorDebug) return;
    if (vector == kVectorPageFault && pv::fix_hypervisor_fault(read_cr2(), regs.error_code)) return;
    if (regs.rip == reinterpret_cast<uint64_t>(guest_iret)) guest_iret_failed(regs);
    if (const uint64_t fixup = find_fixup(regs.rip)) {
        regs.rip = fixup;
        return;
    }
    const uint64_t cr2 = read_cr2();
    panic(
        "exception {} error {:x} in the hypervisor at {:x}, address {:x}\n"
        "  rsp {:x} rbp {:x} rax {:x} rbx {:x} rcx {:x} rdx {:x} rsi {:x} rdi {:x}\n"
        "  r8 {:x} r9 {:x} r10 {:x} r11 {:x} r12 {:x} r13 {:x} r14 {:x} r15 {:x}",
        vector, regs.error_code, regs.rip, cr2, regs.rsp, regs.rbp, regs.rax, regs.rbx, regs.rcx,
        regs.rdx, regs.rsi, regs.rdi, regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13,
        regs.r14, regs.r15);
}

void guest_exception(Registers& regs) {
    const uint32_t vector = regs.entry_vector;
    if (vector == kVectorMachineCheck || vector == kVectorDoubleFault)
        panic("machine check or double fault (vector {}) while a guest ran, rip {:x}", vector,
              regs.rip);
    if (vector == kVectorNmi)
        arch::stay_if_stopped();
    else
        pv::guest_exception(regs);
}

}  // namespace
}  // namespace hv::cpu

using namespace hv;

// entry.S comes here if a softirq or an unmasked event is pending. The rest needs no look on every
// way out: who wants it of another CPU kicks it, and interrupts always pass here; who wants it of
// its own raises Softirq::kExitWork.
extern "C" void hv_exit_work() {
    do {
        process_softirqs();
        pv::isolation::refresh_if_stale();
        pv::deliver_nmi();
        pv::deliver_events();
        // Delivering may end the domain (a stack that is not there), which stops this vCPU.
    } while (softirq_pending());
}

// All may begin with EFLAGS.AC as the interrupted code had it.
extern "C" void hv_guest_exception(arch::Registers* regs) {
    if (cpu::features().smap) asm volatile("clac" ::: "memory");
    cpu::guest_exception(*regs);
}

extern "C" void hv_guest_page_fault(arch::Registers* regs) {
    if (cpu::features().smap) asm volatile("clac" ::: "memory");
    pv::guest_page_fault(*regs);
}

extern "C" void hv_own_exception(arch::Registers* regs) {
    if (cpu::features().smap) asm volatile("clac" ::: "memory");
    cpu::hypervisor_exception(*regs);
}

extern "C" void hv_irq_entry(arch::Registers* regs) {
    if (cpu::features().smap) asm volatile("clac" ::: "memory");
    const auto vector = static_cast<uint8_t>(regs->entry_vector);
    if (vector == cpu::kVectorInt80 && cpu::from_guest(*regs))
        pv::guest_int80(*regs);
    else
        hv_interrupt(vector);
}

namespace hv::arch {

void poll_interrupts() {
    // STI holds interrupts off for one more instruction, so the NOP is where they come in.
    asm volatile("sti\n\tnop\n\tcli" ::: "memory");
}

void wait_for_interrupt(bool (*work_pending)()) {
    if (work_pending()) return;
    // Between STI and HLT nothing comes in (AMD64 manual vol. 3, STI): no wake-up is lost.
    asm volatile("sti\n\thlt\n\tcli" ::: "memory");
}

}  // namespace hv::arch
