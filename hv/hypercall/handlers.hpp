// Every hypercall's entry point, by family. table.cpp binds them to their numbers; each is
// implemented in the file named after it. Arguments are the guest's registers, unchecked.
#pragma once

#include "hv/hypercall/outcome.hpp"

namespace hv {

#define XENOLITH_HYPERCALL(name) \
    Outcome do_##name(uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)

// hv/x86/pv: what only a PV guest may call.
XENOLITH_HYPERCALL(set_trap_table);
XENOLITH_HYPERCALL(mmu_update);
XENOLITH_HYPERCALL(set_gdt);
XENOLITH_HYPERCALL(stack_switch);
XENOLITH_HYPERCALL(fpu_taskswitch);
XENOLITH_HYPERCALL(set_debugreg);
XENOLITH_HYPERCALL(get_debugreg);
XENOLITH_HYPERCALL(update_descriptor);
XENOLITH_HYPERCALL(update_va_mapping);
XENOLITH_HYPERCALL(update_va_mapping_otherdomain);
XENOLITH_HYPERCALL(iret);
XENOLITH_HYPERCALL(set_segment_base);
XENOLITH_HYPERCALL(mmuext_op);
XENOLITH_HYPERCALL(callback_op);
XENOLITH_HYPERCALL(set_callbacks);

// hv/hypercall: families that every kind of guest has.
XENOLITH_HYPERCALL(multicall);
XENOLITH_HYPERCALL(xen_version);
XENOLITH_HYPERCALL(console_io);
XENOLITH_HYPERCALL(vm_assist);
XENOLITH_HYPERCALL(memory_op);
XENOLITH_HYPERCALL(set_timer_op);
XENOLITH_HYPERCALL(sched_op);
XENOLITH_HYPERCALL(sched_op_compat);
XENOLITH_HYPERCALL(vcpu_op);
XENOLITH_HYPERCALL(event_channel_op);
XENOLITH_HYPERCALL(grant_table_op);
XENOLITH_HYPERCALL(physdev_op);
XENOLITH_HYPERCALL(platform_op);
XENOLITH_HYPERCALL(domctl);
XENOLITH_HYPERCALL(nmi_op);
XENOLITH_HYPERCALL(mca);
XENOLITH_HYPERCALL(kexec_op);
XENOLITH_HYPERCALL(hypfs_op);
XENOLITH_HYPERCALL(event_channel_op_compat);
XENOLITH_HYPERCALL(physdev_op_compat);
XENOLITH_HYPERCALL(sysctl);

#undef XENOLITH_HYPERCALL

}  // namespace hv
