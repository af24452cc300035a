#include "hv/x86/pv/traps.hpp"
#include "hv/x86/cpu/guest_access.hpp"

#include "arch/cpu.hpp"
#include "arch/guest_memory.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/event/event.hpp"
#include "hv/sched/sched.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/cpu/cpu_info.hpp"
#include "hv/x86/cpu/fpu.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/paging/entry.hpp"
#include "hv/x86/paging/layout.hpp"
#include "hv/x86/pv/debug_registers.hpp"
#include "hv/x86/pv/descriptor.hpp"
#include "hv/x86/pv/device_write.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/privileged.hpp"
#include "hv/x86/pv/pte_write.hpp"
#include "hv/x86/pv/trace.hpp"
#include "hv/x86/pv/trap_entry.hpp"

namespace hv::pv {
namespace {

using arch::Registers;

constexpr uint64_t kErrorPresent = 1, kErrorWrite = 2, kErrorUser = 4;
constexpr uint64_t kIntBytes = 2;  // the length of `int n`
constexpr uint64_t kErrorIdt = 2;  // of #GP: the selector names an IDT entry

/// What a handler does not inherit from the code it interrupts.
constexpr uint64_t kFlagsCleared =
    eflags::kTf | eflags::kRf | 1 << 14 /* NT */ | 1 << 17 /* VM */ | 1 << 18 /* AC */;

/// The frame that is being written at `base`, in the guest's memory.
struct GuestFrame {
    uint64_t base;

    /// Word n, counted from the lowest address; false: it cannot be written.
    template <unsigned n>
    [[gnu::always_inline]] bool put(uint64_t word) const {
        asm goto("1: mov %[word], %c[offset](%[base])\n\t" EXTABLE("1b", "%l[fault]")
                 :
                 : [word] "r"(word), [base] "r"(base), [offset] "i"(n * sizeof(uint64_t))
                 : "memory"
                 : fault);
        return true;
    fault:
        return false;
    }
};

/// What lies between the frame's first two words, rcx and r11, and what IRET knows.
struct NoExtra {
    static constexpr unsigned kWords = 0;
    bool write(GuestFrame) const { return true; }
};
struct ErrorCode {
    static constexpr unsigned kWords = 1;
    uint32_t error;
    bool write(GuestFrame frame) const { return frame.put<2>(error); }
};
struct Selectors {
    static constexpr unsigned kWords = 4;
    const Registers& of;
    bool write(GuestFrame frame) const {
        return frame.put<2>(of.ds) && frame.put<3>(of.es) && frame.put<4>(of.fs) &&
               frame.put<5>(of.gs);
    }
};

/// What of the guest is interrupted, where that is known already.
enum class From { kEither, kKernel };

/// Puts the frame on the guest kernel's stack and lets the vCPU continue at `handler`. The frame is
///   rcx r11 [extra] rip cs|mask rflags rsp ss
/// with the lowest address first. A stack that cannot be written is the domain's end.
template <From kFrom = From::kEither, class Extra>
[[gnu::always_inline]] inline void bounce(Vcpu& vcpu, Registers& regs, uint64_t handler,
                                          bool masks_events, const Extra extra) {
    arch::PvVcpu& pv = vcpu.arch.pv;
    if (!handler) [[unlikely]]
        return vcpu.domain->crash("no handler is registered for what happened");
    // The guest's kernel really runs in ring 3, but is to see itself in ring 0.
    uint64_t cs = regs.cs & ~3u;
    uint64_t sp = regs.rsp;
    if (kFrom == From::kEither && !pv.kernel_mode) {
        toggle_mode(vcpu);
        sp = pv.kernel_sp;
        cs = regs.cs;
    }
    vcpu_info* info = vcpu.info.load(std::memory_order_relaxed);
    const uint8_t mask = info->evtchn_upcall_mask;
    uint64_t flags = (regs.rflags & ~eflags::kIf) | (mask ? 0 : eflags::kIf);
    if (vcpu.domain->vm_assist.load(std::memory_order_relaxed) & kArchitecturalIopl)
        flags |= uint64_t{pv.iopl} << 12;

    constexpr unsigned kRip = 2 + Extra::kWords, kWords = kRip + 5;
    sp = (sp & ~uint64_t{15}) - kWords * sizeof(uint64_t);
    GuestFrame frame{sp};
    bool written = cpu::confine_to_guest<kWords * sizeof(uint64_t)>(frame.base);
    if (written) {
        cpu::allow_user_access();
        written = frame.put<0>(regs.rcx) && frame.put<1>(regs.r11) && extra.write(frame) &&
                  frame.put<kRip>(regs.rip) && frame.put<kRip + 1>(cs | uint64_t{mask} << 32) &&
                  frame.put<kRip + 2>(flags) && frame.put<kRip + 3>(regs.rsp) &&
                  frame.put<kRip + 4>(regs.ss);
        cpu::forbid_user_access();
    }
    if (!written) [[unlikely]]
        return vcpu.domain->crash("its kernel stack cannot be written for an exception frame");

    if (masks_events) info->evtchn_upcall_mask = 1;
    regs.rsp = sp;
    regs.ss = SEL_GUEST_SS;
    regs.cs = SEL_GUEST_CS64;
    regs.rip = handler;
    regs.rflags &= ~kFlagsCleared;
    regs.entry_vector = VECTOR_SYSCALL;  // rcx and r11 are in the frame: leave by SYSRET
}

[[gnu::noinline]] void bounce_plain(uint64_t handler, bool masks_events) {
    bounce(arch::current(), cpu::guest_registers(), handler, masks_events, NoExtra{});
}

void inject(uint8_t vector) {
    const trap_info& t = arch::current().arch.pv.traps[vector];
    bounce_plain(t.address, t.flags & 4);
}

[[gnu::noinline]] void inject(uint8_t vector, uint32_t error) {
    const trap_info& t = arch::current().arch.pv.traps[vector];
    bounce(arch::current(), cpu::guest_registers(), t.address, t.flags & 4, ErrorCode{error});
}

bool has_error_code(uint8_t vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}

void inject_as_hardware(uint8_t vector, uint32_t error) {
    trace_event::trap(vector, has_error_code(vector), error, cpu::guest_registers().rip);
    has_error_code(vector) ? inject(vector, error) : inject(vector);
}

/// A fault in the vCPU's window: the processor wanted a descriptor. One of the LDT may only be not
/// mapped yet; else the guest is told what its own address of it is. The GDT ends where the guest
/// says, whatever our limit: beyond, it is #GP with the selector.
bool descriptor_fault(uint64_t address, uint32_t error) {
    const uint32_t vcpu = arch::current().id.raw();
    const uint64_t gdt = paging::gdt_address(vcpu), ldt = paging::ldt_address(vcpu);
    if (address < gdt || address >= ldt + paging::kLdtPages * kPageSize) return false;
    if (address < ldt) {
        inject(13, static_cast<uint32_t>(address - gdt) & 0xfff8);
        return true;
    }
    if (fault_in_ldt(address))
        trace_event::descriptor_page(address, cpu::guest_registers().rip);
    else
        inject_page_fault(arch::current().arch.pv.ldt_base + (address - ldt), error & ~kErrorUser);
    return true;
}

/// `int n`, which only reaches the guest's table by way of #GP; its DPL decides.
bool software_interrupt(Registers& regs) {
    if (!(regs.error_code & kErrorIdt) || (regs.error_code & 1)) return false;
    const auto vector = static_cast<uint8_t>(regs.error_code >> 3);
    arch::PvVcpu& pv = arch::current().arch.pv;
    const unsigned ring = pv.kernel_mode ? 1 : 3;
    if ((pv.traps[vector].flags & 3) < ring || !pv.traps[vector].address) return false;
    regs.rip += kIntBytes;
    inject(vector);
    return true;
}

void device_not_available() {
    // TS is the guest's wish (fpu_taskswitch); the state itself is always loaded. Delivering
    // clears it, as the ABI has it.
    arch::fpu::set_guest_ts(arch::current(), false);
    inject(7);
}

/// A breakpoint of the guest's kernel stops the domain, if a debugger in Domain 0 is attached to
/// it, and is told there (VIRQ_DEBUGGER, XEN_DOMCTL_gdbsx_domstatus); the guest sees nothing.
bool debugger_takes(uint8_t vector) {
    Vcpu& vcpu = arch::current();
    if (!vcpu.domain->debugger_attached.load(std::memory_order_relaxed)) return false;
    if (!vcpu.arch.pv.kernel_mode) return false;
    if (!sched::domain_pause_by_controller_nosync(*vcpu.domain).ok()) return false;
    vcpu.debugger_event.store(vector);
    event::send_host_virq(VIRQ_DEBUGGER);
    return true;
}

void debug_exception() {
    uint64_t dr6;
    asm volatile("mov %%dr6, %0" : "=r"(dr6));
    note_debug_status(arch::current(), dr6);
    if (!debugger_takes(1)) inject(1);
}

void breakpoint() {
    if (!debugger_takes(3)) inject(3);
}

}  // namespace

void inject_trap(uint8_t vector) {
    inject(vector);
}
void inject_trap(uint8_t vector, uint32_t error_code) {
    inject(vector, error_code);
}

void inject_failsafe(const Registers& wanted) {
    const arch::PvVcpu& pv = arch::current().arch.pv;
    bounce(arch::current(), cpu::guest_registers(), pv.failsafe_callback, pv.failsafe_masks_events,
           Selectors{wanted});
}

void inject_syscall() {
    const arch::PvVcpu& pv = arch::current().arch.pv;
    bounce(arch::current(), cpu::guest_registers(), pv.syscall_callback, pv.syscall_masks_events,
           NoExtra{});
}

void inject_syscall32() {
    const arch::PvVcpu& pv = arch::current().arch.pv;
    if (pv.syscall32_callback && !pv.kernel_mode)
        return bounce_plain(pv.syscall32_callback, pv.syscall32_masks_events);
    cpu::guest_registers().rip -= 2;  // as if the instruction did not exist
    inject(6);
}

void deliver_events() {
    Vcpu& vcpu = arch::current();
    const vcpu_info* info = vcpu.info.load(std::memory_order_relaxed);
    if (!info || !info->evtchn_upcall_pending || info->evtchn_upcall_mask) return;
    if (arch::is_idle(vcpu) || !vcpu.arch.pv.event_callback) return;
    bounce_plain(vcpu.arch.pv.event_callback, true);
}

void guest_int80(Registers& regs) {
    const arch::PvVcpu& pv = arch::current().arch.pv;
    const trap_info& t = pv.traps[0x80];
    if (t.address && (t.flags & 3) >= (pv.kernel_mode ? 1 : 3)) return inject(0x80);
    regs.rip -= kIntBytes;
    inject(13, 0x80 << 3 | kErrorIdt);
}

void inject_return_fault(uint8_t vector, uint32_t error_code, uint64_t cr2) {
    if (vector == 14 && descriptor_fault(cr2, error_code)) return;
    if (vector == 14) return inject_page_fault(cr2, error_code);
    inject_as_hardware(vector, error_code);
}

void deliver_nmi() {
    arch::PvVcpu& pv = arch::current().arch.pv;
    if (pv.nmi_masked || !pv.nmi_pending.load(std::memory_order_relaxed)) return;
    if (!pv.nmi_pending.exchange(false) || !pv.traps[kNmiVector].address) return;
    pv.nmi_masked = true;
    inject(kNmiVector);
}

bool in_guest_context() {
    return !arch::is_idle(arch::current());
}

bool fix_hypervisor_fault(uint64_t address, uint32_t) {
    return in_guest_context() && fault_in_ldt(address);
}

namespace {

template <From kFrom = From::kEither>
[[gnu::always_inline]] inline void bounce_page_fault(Vcpu& vcpu, Registers& regs, uint64_t cr2,
                                                     uint32_t error_code) {
    vcpu.arch.pv.cr2_guest = cr2;
    vcpu.info.load(std::memory_order_relaxed)->arch.cr2 = cr2;
    const trap_info& t = vcpu.arch.pv.traps[14];
    bounce<kFrom>(vcpu, regs, t.address, t.flags & 4, ErrorCode{error_code});
}

/// The faults that perhaps are not the guest's business: of descriptors, and of writes to its page
/// tables. True: it need not know.
[[gnu::noinline]] bool handle_page_fault(Registers& regs, uint64_t address) {
    const uint32_t error = regs.error_code;
    if (!(error & kErrorUser) && descriptor_fault(address, error)) return true;
    constexpr uint32_t kWriteProtected = kErrorPresent | kErrorWrite;
    return arch::current().arch.pv.kernel_mode && (error & kWriteProtected) == kWriteProtected &&
           paging::is_guest_address(address) &&
           (emulate_pte_write(regs, address) || drop_device_write(regs, address));
}

}  // namespace

void inject_page_fault(uint64_t cr2, uint32_t error_code) {
    bounce_page_fault(arch::current(), cpu::guest_registers(), cr2, error_code);
}

/// All but those of the guest's kernel at pages that are not there. Apart from guest_page_fault(),
/// which calls nothing else and so need not save a register.
[[gnu::noinline]] static void other_page_fault(Registers& regs, uint64_t address) {
    const uint32_t error = regs.error_code;
    if ((error & (kErrorPresent | kErrorUser)) != kErrorUser && handle_page_fault(regs, address))
        return;
    // Ring 3 holds both, so the processor cannot tell the guest's kernel from its user.
    Vcpu& vcpu = arch::current();
    const uint32_t told =
        vcpu.arch.pv.kernel_mode ? error & ~uint32_t{kErrorUser} : error | kErrorUser;
    trace_event::page_fault(address, told, regs.rip);
    bounce_page_fault(vcpu, regs, address, told);
}

void guest_page_fault(Registers& regs) {
    const uint64_t address = cpu::read_cr2();
    const uint32_t error = regs.error_code;
    Vcpu& vcpu = arch::current();
    if ((error & (kErrorPresent | kErrorUser)) != kErrorUser || !vcpu.arch.pv.kernel_mode ||
        trace::is_on()) [[unlikely]]
        return other_page_fault(regs, address);
    bounce_page_fault<From::kKernel>(vcpu, regs, address, error & ~uint32_t{kErrorUser});
}

void guest_exception(Registers& regs) {
    const auto vector = static_cast<uint8_t>(regs.entry_vector);
    switch (vector) {
        case 1:
            return debug_exception();
        case 3:
            return breakpoint();
        case 6:
            if (emulate_invalid_opcode(regs))
                return trace_event::at(TRC_PV_FORCED_INVALID_OP, regs.rip);
            return inject_as_hardware(vector, 0);
        case 7:
            return device_not_available();
        case 13:
            if (software_interrupt(regs)) return;
            // At an address where no code can be, the fault is the address's.
            if (paging::is_guest_address(regs.rip) && emulate_privileged(regs))
                return trace_event::at(TRC_PV_EMULATE_PRIVOP, regs.rip);
            return inject_as_hardware(vector, regs.error_code);
        default:
            return inject_as_hardware(vector, regs.error_code);
    }
}

}  // namespace hv::pv
