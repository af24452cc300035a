// Hypercall numbers to handlers (xen.h, "HYPERCALLS"), the dispatcher, and multicall.
#include "hv/hypercall/table.hpp"

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"

namespace hv {
namespace {

struct Table {
    HypercallHandler handler[kHypercalls] = {};

    constexpr Table() {
        handler[__HYPERVISOR_set_trap_table] = do_set_trap_table;
        handler[__HYPERVISOR_mmu_update] = do_mmu_update;
        handler[__HYPERVISOR_set_gdt] = do_set_gdt;
        handler[__HYPERVISOR_stack_switch] = do_stack_switch;
        handler[__HYPERVISOR_fpu_taskswitch] = do_fpu_taskswitch;
        handler[__HYPERVISOR_sched_op_compat] = do_sched_op_compat;
        handler[__HYPERVISOR_platform_op] = do_platform_op;
        handler[__HYPERVISOR_set_debugreg] = do_set_debugreg;
        handler[__HYPERVISOR_get_debugreg] = do_get_debugreg;
        handler[__HYPERVISOR_update_descriptor] = do_update_descriptor;
        handler[__HYPERVISOR_memory_op] = do_memory_op;
        handler[__HYPERVISOR_multicall] = do_multicall;
        handler[__HYPERVISOR_update_va_mapping] = do_update_va_mapping;
        handler[__HYPERVISOR_set_timer_op] = do_set_timer_op;
        handler[__HYPERVISOR_xen_version] = do_xen_version;
        handler[__HYPERVISOR_console_io] = do_console_io;
        handler[__HYPERVISOR_grant_table_op] = do_grant_table_op;
        handler[__HYPERVISOR_vm_assist] = do_vm_assist;
        handler[__HYPERVISOR_update_va_mapping_otherdomain] = do_update_va_mapping_otherdomain;
        handler[__HYPERVISOR_iret] = do_iret;
        handler[__HYPERVISOR_vcpu_op] = do_vcpu_op;
        handler[__HYPERVISOR_set_segment_base] = do_set_segment_base;
        handler[__HYPERVISOR_mmuext_op] = do_mmuext_op;
        handler[__HYPERVISOR_sched_op] = do_sched_op;
        handler[__HYPERVISOR_callback_op] = do_callback_op;
        handler[__HYPERVISOR_event_channel_op] = do_event_channel_op;
        handler[__HYPERVISOR_physdev_op] = do_physdev_op;
        handler[__HYPERVISOR_sysctl] = do_sysctl;
        handler[__HYPERVISOR_domctl] = do_domctl;
        handler[__HYPERVISOR_nmi_op] = do_nmi_op;
        handler[__HYPERVISOR_kexec_op] = do_kexec_op;
        handler[__HYPERVISOR_arch_0] = do_mca;
    }
};

constexpr Table kTable;

}  // namespace

HypercallHandler find_hypercall(uint64_t number) {
    if (number >= kHypercalls) return nullptr;
    // The guest chooses the index: keep the bound under speculation as well.
    uint64_t mask;
    asm("cmp %1, %2; sbb %0, %0" : "=r"(mask) : "r"(uint64_t{kHypercalls}), "r"(number) : "cc");
    return kTable.handler[number & mask];
}

Outcome do_multicall(uint64_t list_address, uint64_t count, uint64_t, uint64_t, uint64_t) {
    Vcpu& vcpu = arch::current();
    const GuestInOut<multicall_entry> list(list_address);
    // A multicall within a multicall has always been refused.
    if (vcpu.in_multicall) return Errno::kEINVAL;
    for (uint64_t i = 0; i < count; ++i) {
        if (i && preempt_requested())
            return continue_with({list.at(i, sizeof(multicall_entry)), count - i});
        Result<multicall_entry> entry = list.load(i);
        if (!entry.ok()) return entry.error();
        multicall_entry& e = *entry;
        const HypercallHandler handler = find_hypercall(e.op);
        vcpu.in_multicall = true;
        const Outcome outcome = handler
                                    ? handler(e.args[0], e.args[1], e.args[2], e.args[3], e.args[4])
                                    : Outcome(Errno::kENOSYS);
        vcpu.in_multicall = false;
        if (outcome.again) {
            // The entry itself keeps the progress; the guest is not to see it half done.
            for (unsigned a = 0; a < vcpu.continuation.count; ++a)
                e.args[a] = vcpu.continuation.args[a];
            const Result<> stored = list.store(e, i);
            if (!stored.ok()) return stored.error();
            return continue_with({list.at(i, sizeof(multicall_entry)), count - i});
        }
        e.result = static_cast<uint64_t>(outcome.value);
        const Result<> stored = list.store_field(e, &multicall_entry::result, i);
        if (!stored.ok()) return stored.error();
    }
    return Outcome(0);
}

}  // namespace hv
