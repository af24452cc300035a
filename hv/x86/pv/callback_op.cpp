// How a PV guest's kernel says where it wants to be entered, and returns from there:
// set_trap_table, callback_op, stack_switch, set_segment_base (xen.h, callback.h). The way back
// from there: iret.cpp.
#include <cstdint>

#include <xen/xen.h>
// after xen.h, whose types it uses
#include <xen/callback.h>

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/x86/cpu/segment_base.hpp"
#include "hv/x86/paging/entry.hpp"
#include "hv/x86/pv/traps.hpp"

namespace hv {

Outcome do_set_trap_table(uint64_t table, uint64_t, uint64_t, uint64_t, uint64_t) {
    trap_info* traps = arch::current().arch.pv.traps;
    if (!table) {
        for (unsigned v = 0; v < 256; ++v) traps[v] = {};
        return Outcome(0);
    }
    const GuestIn<trap_info> list(table);
    // A list has at most one entry for each vector and a terminator; no guest needs more.
    for (unsigned i = 0; i <= 256; ++i) {
        const Result<trap_info> t = list.load(i);
        if (!t.ok()) return t.error();
        if (!t->address) return Outcome(0);
        if (!paging::is_canonical(t->address)) return Errno::kEINVAL;
        traps[t->vector] = *t;
    }
    return Errno::kEINVAL;
}

namespace {

Result<> register_callback(arch::PvVcpu& pv, const callback_register& c) {
    if (!paging::is_canonical(c.address)) return Errno::kEINVAL;
    const bool masks = c.flags & CALLBACKF_mask_events;
    switch (c.type) {
        case CALLBACKTYPE_event:
            pv.event_callback = c.address;
            return {};
        case CALLBACKTYPE_failsafe:
            pv.failsafe_callback = c.address;
            pv.failsafe_masks_events = masks;
            return {};
        case CALLBACKTYPE_syscall:
            pv.syscall_callback = c.address;
            pv.syscall_masks_events = masks;
            return {};
        case CALLBACKTYPE_syscall32:
            pv.syscall32_callback = c.address;
            pv.syscall32_masks_events = masks;
            return {};
        case CALLBACKTYPE_nmi:
            return pv::register_nmi_handler(c.address);
        default:  // CALLBACKTYPE_sysenter too: a kernel then uses int 0x80
            return Errno::kENOSYS;
    }
}

Result<> unregister_callback(const callback_unregister& c) {
    switch (c.type) {
        case CALLBACKTYPE_event:
        case CALLBACKTYPE_failsafe:
        case CALLBACKTYPE_syscall:
        case CALLBACKTYPE_syscall32:
            return Errno::kEINVAL;  // a guest cannot be without them
        case CALLBACKTYPE_nmi:
            pv::unregister_nmi_handler();
            return {};
        default:
            return Errno::kENOSYS;
    }
}

}  // namespace

/// The form of before callback_op: all three at once, without flags.
Outcome do_set_callbacks(uint64_t event, uint64_t failsafe, uint64_t syscall, uint64_t, uint64_t) {
    for (const uint64_t address : {event, failsafe, syscall})
        if (!paging::is_canonical(address)) return Errno::kEINVAL;
    arch::PvVcpu& pv = arch::current().arch.pv;
    pv.event_callback = event;
    pv.failsafe_callback = failsafe;
    pv.syscall_callback = syscall;
    pv.failsafe_masks_events = pv.syscall_masks_events = false;
    return Outcome(0);
}

Outcome do_callback_op(uint64_t command, uint64_t argument, uint64_t, uint64_t, uint64_t) {
    arch::PvVcpu& pv = arch::current().arch.pv;
    switch (command) {
        case CALLBACKOP_register: {
            const Result<callback_register> c = GuestIn<callback_register>(argument).load();
            return c.ok() ? register_callback(pv, *c) : Result<>(c.error());
        }
        case CALLBACKOP_unregister: {
            const Result<callback_unregister> c = GuestIn<callback_unregister>(argument).load();
            return c.ok() ? unregister_callback(*c) : Result<>(c.error());
        }
        default:
            return Errno::kENOSYS;
    }
}

Outcome do_stack_switch(uint64_t ss, uint64_t sp, uint64_t, uint64_t, uint64_t) {
    arch::PvVcpu& pv = arch::current().arch.pv;
    pv.kernel_ss = ss | 3;
    pv.kernel_sp = sp;
    return Outcome(0);
}

Outcome do_set_segment_base(uint64_t which, uint64_t base, uint64_t, uint64_t, uint64_t) {
    arch::PvVcpu& pv = arch::current().arch.pv;
    if (which != SEGBASE_GS_USER_SEL && !paging::is_canonical(base)) return Errno::kEINVAL;
    switch (which) {
        case SEGBASE_FS:
            pv.fs_base = base;
            cpu::write_fs_base(base);
            return Outcome(0);
        case SEGBASE_GS_KERNEL:  // the caller is the kernel, so its base is the live one
            pv.gs_base_kernel = base;
            cpu::write_gs_base(base);
            return Outcome(0);
        case SEGBASE_GS_USER:
            pv.gs_base_user = base;
            cpu::write_other_gs_base(base);
            return Outcome(0);
        case SEGBASE_GS_USER_SEL:
            if (base & ~uint64_t{0xffff}) return Errno::kEINVAL;
            cpu::load_user_gs(static_cast<uint16_t>(base));
            return Outcome(0);
        default:
            return Errno::kEINVAL;
    }
}

}  // namespace hv
