// x86's part of a vCPU.
#pragma once

#include <cstdint>

#include <atomic>

#include <xen/xen.h>

#include "hv/limits.hpp"

namespace hv::arch {

/// A guest's registers as the entry code lays them on the stack: the public cpu_user_regs.
using Registers = cpu_user_regs;

/// What a PV vCPU has besides its registers. Written by itself or while it does not run.
struct PvVcpu {
    bool kernel_mode = true;  ///< ring 3 holds the guest's kernel, not its user
    trap_info traps[256] = {};
    uint64_t event_callback = 0;
    uint64_t failsafe_callback = 0;
    uint64_t syscall_callback = 0;
    uint64_t syscall32_callback = 0;
    bool syscall32_masks_events = false;
    bool failsafe_masks_events = false;  ///< CALLBACKF_mask_events
    bool syscall_masks_events = false;
    std::atomic<bool> nmi_pending{false};
    bool nmi_masked = false;      ///< from delivery to the next iret
    bool selectors_lost = false;  ///< a segment register could not be loaded at the switch

    uint64_t kernel_ss = 0;
    uint64_t kernel_sp = 0;
    Mfn kernel_table = kInvalidMfn;  ///< L4 of kernel mode; holds a type and general reference
    Mfn user_table = kInvalidMfn;    ///< L4 of user mode, or invalid
    Mfn parked_table = kInvalidMfn;  ///< a table whose dropping was interrupted; held
    DomId parked_domain;             ///< whose table that is
    uint64_t cr0_guest = 0;          ///< TS as the guest sees it, and what it wrote
    uint64_t cr4_guest = 0;
    uint64_t cr2_guest = 0;
    uint32_t iopl = 0;  ///< 0…3, PHYSDEVOP_set_iopl

    Mfn gdt_frames[16];  ///< FIRST_RESERVED_GDT_PAGE of them; hold references
    uint32_t gdt_entries = 0;
    uint64_t ldt_base = 0;
    uint32_t ldt_entries = 0;
    Mfn ldt_frames[16];  ///< mapped so far (lazily); hold references

    uint64_t fs_base = 0;
    uint64_t gs_base_kernel = 0;
    uint64_t gs_base_user = 0;
    uint64_t debug_registers[8] = {};

    uint64_t physdev_port_bitmap = 0;  ///< PHYSDEVOP_set_iobitmap: linear address, and size
    uint32_t physdev_port_bitmap_bytes = 0;

    uint32_t tsc_aux = 0;  ///< MSRs: what rdtscp tells, CPUID faulting in user mode
    uint64_t misc_features = 0;
    uint64_t debug_address_masks[4] = {};
    uint32_t io_breakpoints = 0;  ///< enable bits of DR7 that watch ports: emulated
};

struct VcpuState {
    PvVcpu pv;
    Registers regs{};            ///< while it is not loaded on a CPU; else on that CPU's stack
    uint64_t hv_cr3 = 0;         ///< page tables with all of the hypervisor in them
    uint64_t guest_cr3 = 0;      ///< what runs in the guest; differs under page-table isolation
    void* xsave_area = nullptr;  ///< kXsaveAreaSize bytes, 64-aligned; XSAVE/FXSAVE format
    uint64_t xcr0 = 1;
    uint64_t xcr0_accum = 1;
    uint64_t host_time_version = 0;
};

}  // namespace hv::arch
