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
#include "hv/x86/cpu/guest_access.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/traps.hpp"

namespace hv {
namespace {

constexpr uint64_t kVm = 1 << 17;  // virtual 8086 mode, which long mode has not

[[gnu::noinline]] Outcome refuse(const char* why) {
    arch::current().domain->crash(why);
    return Outcome(0);
}

/// A word of the guest's, read to where it goes; false: it cannot be read.
[[gnu::always_inline]] inline bool fetch(uint64_t& into, uint64_t linear) {
    uint64_t word;
    if (!cpu::fetch_word<uint64_t>(&word, linear)) return false;
    into = word;
    return true;
}

/// What of the frame is looked at beyond putting it into the registers.
struct Wanted {
    uint64_t rax, cs, flags;
    uint16_t real_cs;  ///< what goes into the register
};

/// Puts the iret_context at `frame` into `regs`. False: it cannot be read, and registers are lost,
/// which is no matter then.
[[gnu::always_inline]] inline bool load_frame(uint64_t frame, arch::Registers& regs,
                                              Wanted& wanted) {
#define WORD(member, into) fetch(into, frame + offsetof(iret_context, member))
    uint64_t word;
    if (!WORD(ss, word)) [[unlikely]]
        return false;
    regs.ss = static_cast<uint16_t>(word | 3);  // ring 3 either way
    if (!WORD(cs, wanted.cs)) [[unlikely]]
        return false;
    wanted.real_cs = static_cast<uint16_t>(wanted.cs | 3);
    regs.cs = wanted.real_cs;
    if (!WORD(rip, regs.rip) || !WORD(rsp, regs.rsp) || !WORD(rflags, wanted.flags)) [[unlikely]]
        return false;
    regs.rflags = (wanted.flags & ~(eflags::kIopl | kVm)) | eflags::kIf | 2;
    if (!WORD(flags, word)) [[unlikely]]
        return false;
    if (word & VGCF_in_syscall) [[unlikely]] {
        // rcx and r11 are free to be lost, but SYSRET knows only one code segment.
        regs.entry_vector = regs.cs == SEL_GUEST_CS64 ? VECTOR_SYSCALL : 0;
    } else {
        regs.entry_vector = 0;  // leave by IRET
        if (!WORD(r11, regs.r11) || !WORD(rcx, regs.rcx)) [[unlikely]]
            return false;
    }
    return WORD(rax, wanted.rax);
#undef WORD
}

/// The rest, for what is not a mere return within the kernel.
[[gnu::noinline]] Outcome finish(uint64_t rax, bool to_user) {
    Vcpu& vcpu = arch::current();
    arch::PvVcpu& pv = vcpu.arch.pv;
    if (pv.nmi_masked) {  // the next one may have been waiting for this
        pv.nmi_masked = false;
        raise_softirq(Softirq::kExitWork);
    }
    if (!to_user) return Outcome(static_cast<int64_t>(rax));
    if (pv.user_table == kInvalidMfn) return refuse("iret to user mode without user page tables");
    pv::toggle_mode(vcpu);
    return Outcome(static_cast<int64_t>(rax));
}

}  // namespace

Outcome do_iret(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
    Vcpu& vcpu = arch::current();
    arch::PvVcpu& pv = vcpu.arch.pv;
    arch::Registers& regs = cpu::guest_registers();
    uint64_t frame = regs.rsp;
    Wanted wanted;
    if (!cpu::confine_to_guest<sizeof(iret_context)>(frame)) [[unlikely]]
        return refuse("iret: its frame is not the guest's");
    cpu::allow_user_access();
    const bool loaded = load_frame(frame, regs, wanted);
    cpu::forbid_user_access();
    if (!loaded) [[unlikely]]
        return refuse("iret: its frame cannot be read");
    if (vcpu.domain->vm_assist.load(std::memory_order_relaxed) & pv::kArchitecturalIopl)
        pv.iopl = static_cast<uint32_t>(wanted.flags >> 12 & 3);
    vcpu.info.load(std::memory_order_relaxed)->evtchn_upcall_mask = !(wanted.flags & eflags::kIf);
    const bool to_user = wanted.real_cs == static_cast<uint16_t>(wanted.cs);  // RPL 3 already
    if (to_user || pv.nmi_masked) return finish(wanted.rax, to_user);
    return Outcome(static_cast<int64_t>(wanted.rax));
}

}  // namespace hv
