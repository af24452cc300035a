// Exchanging the vCPU that a CPU has loaded. One stack a CPU: the registers of the guest lie at
// its top, so switching is copying them, and then leaving whatever the stack holds.
#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/sched/sched.hpp"
#include "hv/x86/cpu/cpu_area.hpp"
#include "hv/x86/cpu/cpu_init.hpp"
#include "hv/x86/cpu/fpu.hpp"
#include "hv/x86/cpu/resume.hpp"
#include "hv/x86/cpu/segment_base.hpp"
#include "hv/x86/paging/flush.hpp"
#include "hv/x86/paging/host.hpp"
#include "hv/x86/pv/control_registers.hpp"
#include "hv/x86/pv/debug_registers.hpp"
#include "hv/x86/pv/descriptor.hpp"
#include "hv/x86/pv/isolation.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/msr.hpp"
#include "hv/x86/pv/traps.hpp"

namespace hv::arch {
namespace {

using cpu::CpuInfo;

uint16_t read_selector_ds() {
    uint16_t s;
    asm volatile("mov %%ds, %0" : "=r"(s));
    return s;
}
uint16_t read_selector_es() {
    uint16_t s;
    asm volatile("mov %%es, %0" : "=r"(s));
    return s;
}
uint16_t read_selector_fs() {
    uint16_t s;
    asm volatile("mov %%fs, %0" : "=r"(s));
    return s;
}
uint16_t read_selector_gs() {
    uint16_t s;
    asm volatile("mov %%gs, %0" : "=r"(s));
    return s;
}

void save_segments(Vcpu& vcpu) {
    Registers& regs = vcpu.arch.regs;
    PvVcpu& pv = vcpu.arch.pv;
    regs.ds = read_selector_ds();
    regs.es = read_selector_es();
    regs.fs = read_selector_fs();
    regs.gs = read_selector_gs();
    pv.fs_base = cpu::read_fs_base();
    (pv.kernel_mode ? pv.gs_base_kernel : pv.gs_base_user) = cpu::read_gs_base();
    (pv.kernel_mode ? pv.gs_base_user : pv.gs_base_kernel) = cpu::read_other_gs_base();
}

void load_segments(Vcpu& vcpu) {
    const Registers& regs = vcpu.arch.regs;
    const PvVcpu& pv = vcpu.arch.pv;
    // Most are 0 on both sides; a load is slow and may fault.
    bool good = true;
    if (regs.ds | read_selector_ds()) good &= cpu::load_ds(regs.ds);
    if (regs.es | read_selector_es()) good &= cpu::load_es(regs.es);
    if (regs.fs | read_selector_fs()) good &= cpu::load_fs(regs.fs);
    if (regs.gs | read_selector_gs()) good &= cpu::load_gs(regs.gs);
    vcpu.arch.pv.selectors_lost = !good;
    cpu::write_fs_base(pv.fs_base);
    cpu::write_gs_base(pv.kernel_mode ? pv.gs_base_kernel : pv.gs_base_user);
    cpu::write_other_gs_base(pv.kernel_mode ? pv.gs_base_user : pv.gs_base_kernel);
}

/// By quadwords: the compiler would copy twice as many halves.
void copy_frame(Registers& to, const Registers& from) {
    static_assert(sizeof(Registers) % sizeof(uint64_t) == 0);
    auto* target = &to;
    auto* source = &from;
    size_t words = sizeof(Registers) / sizeof(uint64_t);
    asm volatile("rep movsq" : "+D"(target), "+S"(source), "+c"(words)::"memory");
}

void save(Vcpu& vcpu) {
    copy_frame(vcpu.arch.regs, cpu::guest_registers());
    save_segments(vcpu);  // which the frame does not have
    fpu::save(vcpu);
}

void load_descriptors(Vcpu& vcpu, CpuId cpu) {
    // Our own descriptors are the CPU's, in page 14 of whatever GDT is loaded.
    paging::Entry* reserved = pv::window_entry(vcpu, FIRST_RESERVED_GDT_PAGE);
    *reserved = paging::Entry(cpu::gdt_page_mfn(cpu), paging::kData & ~paging::Entry::kGlobal);
}

void load(Vcpu& vcpu, CpuId cpu) {
    load_descriptors(vcpu, cpu);
    vcpu.domain->dirty_cpus.set(cpu);
    note_guest_loaded(true);
    CpuInfo& info = cpu::cpu_info();
    info.current = &vcpu;
    pv::load_page_tables(vcpu);
    cpu::load_gdt(paging::gdt_address(vcpu.id.raw()));
    pv::load_ldt(vcpu);
    load_segments(vcpu);
    cpu::write_cr4(pv::real_cr4(vcpu, cpu::own_cr4()));
    fpu::restore(vcpu);
    pv::load_debug_registers(vcpu);
    pv::load_guest_msrs(vcpu);
    copy_frame(info.regs, vcpu.arch.regs);
    // Its tables changed while it was away: its kernel learns which selectors it has lost.
    if (vcpu.arch.pv.selectors_lost) pv::inject_failsafe(vcpu.arch.regs);
}

void load_idle(Vcpu& idle, CpuId cpu) {
    CpuInfo& info = cpu::cpu_info();
    info.current = &idle;
    info.hv_cr3 = info.guest_cr3 = 0;
    // No selector of the guest's may stay: its tables are about to go.
    cpu::load_ds(0), cpu::load_es(0), cpu::load_fs(0), cpu::load_gs(0);
    cpu::load_gdt(cpu::own_gdt_base(cpu));
    cpu::load_ldt(cpu, 0, 0);
    cpu::write_cr3(cpu::idle_cr3());
    cpu::write_cr4(cpu::own_cr4());
    flush_tlb_local();
    note_guest_loaded(false);
}

}  // namespace

bool is_idle(const Vcpu& vcpu) {
    return vcpu.domain->id.raw() == DOMID_IDLE;
}

void context_switch(Vcpu& prev, Vcpu& next) {
    const CpuId cpu = this_cpu();
    if (!is_idle(prev)) save(prev);
    if (is_idle(next))
        load_idle(next, cpu);
    else
        load(next, cpu);
    // Only now does nothing of prev's lie on this CPU: no register, no page table.
    if (!is_idle(prev) && prev.domain != next.domain) prev.domain->dirty_cpus.clear(cpu);
    sched::context_saved(prev);
    if (is_idle(next)) cpu::reset_stack_and_call(sched::idle_loop);
    hv_resume();
}

// Switches are never lazy: what does not run has its state in memory. (Who waited for that may find
// the vCPU running again, unpaused by somebody else meanwhile.)
void sync_vcpu_state(Vcpu&) {}

}  // namespace hv::arch
