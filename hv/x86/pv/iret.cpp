// HYPERVISOR_iret: a PV guest's kernel returns from a handler, to its own code or to its user mode
// (xen-x86_64.h, "iret_context"). A quarter of all hypercalls of a busy Linux guest, so it is
// short: the frame is read word by word where it goes, and what is rare is called.
#include "arch/cpu.hpp"
#include "arch/guest_memory.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/cpu/cpu_info.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/traps.hpp"

namespace hv {
namespace {

constexpr uint64_t kVm = 1 << 17;  // virtual 8086 mode, which long mode has not
constexpr unsigned kIfBit = 9;

[[gnu::noinline]] Outcome refuse(Vcpu& vcpu, const char* why) {
    vcpu.domain->crash(why);
    return Outcome(0);
}

}  // namespace

Outcome do_iret(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
    Vcpu& vcpu = arch::current();
    arch::PvVcpu& pv = vcpu.arch.pv;
    arch::Registers& regs = cpu::guest_registers();
    iret_context f;
    if (!cpu::fetch_from_guest<sizeof f>(&f, regs.rsp)) [[unlikely]]
        return refuse(vcpu, "iret: its frame cannot be read");
    if ((f.cs & 3) == 3) {  // to user mode
        if (pv.user_table == kInvalidMfn) [[unlikely]]
            return refuse(vcpu, "iret to user mode without user page tables");
        pv::toggle_mode(vcpu);
    }
    regs.rip = f.rip;
    regs.cs = static_cast<uint16_t>(f.cs | 3);  // ring 3 either way
    regs.rflags = (f.rflags & ~(eflags::kIopl | kVm)) | eflags::kIf | 2;
    regs.rsp = f.rsp;
    regs.ss = static_cast<uint16_t>(f.ss | 3);
    if (f.flags & VGCF_in_syscall) {
        // rcx and r11 are free to be lost, but SYSRET knows only one code segment.
        regs.entry_vector = regs.cs == SEL_GUEST_CS64 ? VECTOR_SYSCALL : 0;
    } else {
        regs.entry_vector = 0;  // leave by IRET
        regs.r11 = f.r11;
        regs.rcx = f.rcx;
    }
    if (vcpu.domain->vm_assist.load(std::memory_order_relaxed) & pv::kArchitecturalIopl)
        pv.iopl = static_cast<uint32_t>(f.rflags >> 12 & 3);
    if (pv.nmi_masked) [[unlikely]] {  // the next one may have been waiting for this
        pv.nmi_masked = false;
        raise_softirq(Softirq::kExitWork);
    }
    vcpu.info.load(std::memory_order_relaxed)->evtchn_upcall_mask = ~f.rflags >> kIfBit & 1;
    return Outcome(static_cast<int64_t>(f.rax));
}

}  // namespace hv
