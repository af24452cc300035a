// x86's part of a domain's and a vCPU's life (arch/domain.hpp).
#include "arch/domain.hpp"

#include "arch/cpu.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/cpu/fpu.hpp"
#include "hv/x86/cpu/policy.hpp"
#include "hv/x86/irq/pirq.hpp"
#include "hv/x86/paging/flush.hpp"
#include "hv/x86/pv/control_registers.hpp"
#include "hv/x86/pv/debug_registers.hpp"
#include "hv/x86/pv/descriptor.hpp"
#include "hv/x86/pv/isolation.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/page_type.hpp"
#include "hv/x86/pv/pin.hpp"

namespace hv::arch {

Result<> init_domain(Domain& domain, const DomainConfig& config) {
    domain.arch.isolate_page_tables = pv::isolation::wanted(domain.is_hardware);
    // Before the first L4 table is checked, which is when it learns of the window.
    domain.arch.perdomain_l3 = TRY(memory::alloc_frames(0));
    TRY(cpu_policy::init_domain(domain));
    if (config.hardware) TRY(irq::create_pirqs(domain));
    return {};
}

void destroy_domain(Domain& domain) {
    pv::destroy_windows(domain);
    irq::destroy_pirqs(domain);
    cpu_policy::destroy_domain(domain);
    heap::destroy(domain.arch.ioports);
    domain.arch.ioports = nullptr;
    heap::destroy(domain.arch.device_frames);
    domain.arch.device_frames = nullptr;
}

Result<> init_vcpu(Vcpu& vcpu) {
    for (Mfn& frame : vcpu.arch.pv.gdt_frames) frame = kInvalidMfn;
    for (Mfn& frame : vcpu.arch.pv.ldt_frames) frame = kInvalidMfn;
    TRY(fpu::init_vcpu(vcpu));
    return pv::create_window(vcpu);
}

void destroy_vcpu(Vcpu& vcpu) {
    fpu::destroy_vcpu(vcpu);
}

namespace {

/// The tables a dead vCPU ran on, and its descriptor pages. kERESTART.
Result<> release_vcpu(Domain& domain, Vcpu& vcpu) {
    TRY(pv::finish_parked(vcpu));
    AloneGuard guard(domain.arch.paging_lock);
    for (Mfn* table : {&vcpu.arch.pv.kernel_table, &vcpu.arch.pv.user_table}) {
        if (*table == kInvalidMfn) continue;
        TRY(pv::put_table(domain, *table, pv::Hold::kAloneInParts));
        *table = kInvalidMfn;
    }
    pv::drop_gdt(vcpu);
    pv::drop_ldt(vcpu);
    return {};
}

/// Pinned and half-checked tables among the domain's frames, from `cursor` on. kERESTART.
Result<> release_tables(Domain& domain, Mfn& cursor) {
    AloneGuard guard(domain.arch.paging_lock);
    const Mfn end = memory::max_page();
    for (unsigned steps = 1; cursor < end; ++cursor, ++steps) {
        PageInfo* page = page_info(cursor);
        if (!page) {  // a section that nobody ever had
            cursor = Mfn{(cursor.raw() | (memory::kSectionFrames - 1))};
            continue;
        }
        if (page->owned_by(domain.id) && page->get(domain.id)) {
            const Result<> released = pv::force_release(domain, *page);
            page->put();
            if (!released.ok()) return released.error();
        }
        if (steps % 1024 == 0 && preempt_requested()) return Errno::kERESTART;
    }
    return {};
}

}  // namespace

bool relinquish_domain(Domain& domain) {
    irq::relinquish_pirqs(domain);
    for (uint32_t n = 0; n < domain.max_vcpus; ++n) {
        Vcpu* vcpu = domain.vcpus[n];
        if (!vcpu) continue;
        if (const Result<> released = release_vcpu(domain, *vcpu); !released.ok()) return true;
    }
    return !release_tables(domain, domain.arch.release_cursor).ok();
}

namespace {

constexpr uint64_t kGuestFlags = eflags::kArithmetic | eflags::kTf | 1 << 10 /* DF */ |
                                 eflags::kRf | 1 << 14 /* NT */ | 1 << 18 /* AC */ |
                                 1 << 21 /* ID */;

void set_registers(Registers& to, const Registers& from) {
    to = from;
    to.cs = from.cs | 3;  // whatever a PV guest runs, it runs in ring 3
    to.ss = from.ss | 3;
    to.rflags = (from.rflags & kGuestFlags) | eflags::kIf | 2;
    to.entry_vector = 0;
    to.error_code = 0;
}

Result<> set_descriptor_tables(Vcpu& vcpu, const vcpu_guest_context& c) {
    Mfn frames[FIRST_RESERVED_GDT_PAGE];
    if (c.gdt_ents > FIRST_RESERVED_GDT_ENTRY) return Errno::kEINVAL;
    for (uint64_t i = 0; i < (c.gdt_ents + 511) / 512; ++i) frames[i] = Mfn{c.gdt_frames[i]};
    TRY(pv::set_ldt(vcpu, c.ldt_base, static_cast<uint32_t>(c.ldt_ents)));
    return pv::set_gdt(vcpu, frames, static_cast<uint32_t>(c.gdt_ents));
}

Result<> set_tables(Vcpu& vcpu, const vcpu_guest_context& c) {
    Domain& domain = *vcpu.domain;
    AloneGuard guard(domain.arch.paging_lock);
    constexpr pv::Hold kHold = pv::Hold::kAloneInParts;
    const Mfn kernel = mfn_of(c.ctrlreg[3]);
    TRY(pv::get_table_or_park(domain, kernel, PageType::kL4, kHold));
    if (c.ctrlreg[1]) {
        const Mfn user = mfn_of(c.ctrlreg[1] & ~uint64_t{1});
        const Result<> got = pv::get_table_or_park(domain, user, PageType::kL4, kHold);
        if (!got.ok()) {
            pv::drop_or_park(domain, kernel, kHold);
            return got.error();
        }
        pv::set_user_table(vcpu, user);
    }
    pv::set_kernel_table(vcpu, kernel);
    return {};
}

bool addresses_are_good(const vcpu_guest_context& c) {
    for (const trap_info& t : c.trap_ctxt)
        if (!paging::is_canonical(t.address)) return false;
    return paging::is_canonical(c.fs_base) && paging::is_canonical(c.gs_base_kernel) &&
           paging::is_canonical(c.gs_base_user) && paging::is_canonical(c.event_callback_eip) &&
           paging::is_canonical(c.failsafe_callback_eip) &&
           paging::is_canonical(c.syscall_callback_eip);
}

}  // namespace

Result<> set_vcpu_context(Vcpu& vcpu, const vcpu_guest_context& c) {
    PvVcpu& pv = vcpu.arch.pv;
    if (pv.kernel_table != kInvalidMfn) return Errno::kEBUSY;
    if (!addresses_are_good(c)) return Errno::kEINVAL;
    TRY(pv::finish_parked(current()));
    TRY(set_descriptor_tables(vcpu, c));
    vcpu.domain->vm_assist.fetch_or(c.vm_assist);
    TRY(set_tables(vcpu, c));

    set_registers(vcpu.arch.regs, c.user_regs);
    pv.iopl = static_cast<uint32_t>(c.user_regs.rflags >> 12 & 3);
    pv.kernel_mode = c.flags & VGCF_in_kernel;
    if (pv.user_table == kInvalidMfn) pv.kernel_mode = true;
    if (c.flags & VGCF_i387_valid) TRY(fpu::set_legacy(vcpu, &c.fpu_ctxt));
    for (unsigned v = 0; v < 256; ++v) {
        pv.traps[v] = c.trap_ctxt[v];
        pv.traps[v].vector = static_cast<uint8_t>(v);
    }
    pv.kernel_ss = c.kernel_ss | 3;
    pv.kernel_sp = c.kernel_sp;
    pv.event_callback = c.event_callback_eip;
    pv.failsafe_callback = c.failsafe_callback_eip;
    pv.syscall_callback = c.syscall_callback_eip;
    pv.failsafe_masks_events = c.flags & VGCF_failsafe_disables_events;
    pv.syscall_masks_events = c.flags & VGCF_syscall_disables_events;
    pv.fs_base = c.fs_base;
    pv.gs_base_kernel = c.gs_base_kernel;
    pv.gs_base_user = c.gs_base_user;
    // Breakpoints that a guest may not have (in the hypervisor, say) are left off.
    for (unsigned i : {0u, 1u, 2u, 3u, 6u, 7u})
        (void)pv::set_debug_register(vcpu, i, c.debugreg[i]);
    pv.cr0_guest = c.ctrlreg[0];
    pv.cr4_guest = pv::guest_cr4(vcpu, c.ctrlreg[4]);
    return {};
}

void get_vcpu_context(Vcpu& vcpu, vcpu_guest_context& c) {
    const PvVcpu& pv = vcpu.arch.pv;
    __builtin_memset(&c, 0, sizeof c);
    c.user_regs = vcpu.arch.regs;
    c.user_regs.entry_vector = 0;
    fpu::get_legacy(vcpu, &c.fpu_ctxt);
    c.flags = VGCF_i387_valid;
    if (pv.kernel_mode) c.flags |= VGCF_in_kernel;
    if (!(vcpu.pause_flags.load() & pause::kDown)) c.flags |= VGCF_online;
    if (pv.failsafe_masks_events) c.flags |= VGCF_failsafe_disables_events;
    if (pv.syscall_masks_events) c.flags |= VGCF_syscall_disables_events;
    for (unsigned v = 0; v < 256; ++v) c.trap_ctxt[v] = pv.traps[v];
    c.ldt_base = pv.ldt_base;
    c.ldt_ents = pv.ldt_entries;
    for (unsigned i = 0; i < FIRST_RESERVED_GDT_PAGE && i * 512 < pv.gdt_entries; ++i)
        c.gdt_frames[i] = pv.gdt_frames[i].raw();
    c.gdt_ents = pv.gdt_entries;
    c.kernel_ss = pv.kernel_ss;
    c.kernel_sp = pv.kernel_sp;
    c.ctrlreg[0] = pv::guest_cr0(pv);
    c.ctrlreg[2] = pv.cr2_guest;
    c.ctrlreg[4] = pv.cr4_guest;
    if (pv.kernel_table != kInvalidMfn) c.ctrlreg[3] = address_of(pv.kernel_table);
    if (pv.user_table != kInvalidMfn) c.ctrlreg[1] = address_of(pv.user_table);
    for (unsigned i = 0; i < 8; ++i) c.debugreg[i] = pv.debug_registers[i];
    c.event_callback_eip = pv.event_callback;
    c.failsafe_callback_eip = pv.failsafe_callback;
    c.syscall_callback_eip = pv.syscall_callback;
    c.vm_assist = vcpu.domain->vm_assist.load();
    c.fs_base = pv.fs_base;
    c.gs_base_kernel = pv.gs_base_kernel;
    c.gs_base_user = pv.gs_base_user;
}

}  // namespace hv::arch
