// Hypercall numbers to handlers (xen.h, "HYPERCALLS"), the dispatcher, and multicall.
#include "hv/hypercall/table.hpp"

#include <utility>

#include "arch/cpu.hpp"
#include "base/nospec.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/counters.hpp"
#include "hv/hypercall/guest_element.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/sched/softirq.hpp"

namespace hv {
namespace {

Outcome no_such_hypercall(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
    return Errno::kENOSYS;
}

/// Guests get no performance counters: as Xen without `vpmu=`.
Outcome no_counters(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
    return Errno::kEOPNOTSUPP;
}

constexpr HypercallTable all_handlers() {
    HypercallTable table = {};
    for (HypercallHandler& h : table.handler) h = no_such_hypercall;
    table.handler[__HYPERVISOR_set_trap_table] = do_set_trap_table;
    table.handler[__HYPERVISOR_mmu_update] = do_mmu_update;
    table.handler[__HYPERVISOR_set_gdt] = do_set_gdt;
    table.handler[__HYPERVISOR_stack_switch] = do_stack_switch;
    table.handler[__HYPERVISOR_fpu_taskswitch] = do_fpu_taskswitch;
    table.handler[__HYPERVISOR_sched_op_compat] = do_sched_op_compat;
    table.handler[__HYPERVISOR_platform_op] = do_platform_op;
    table.handler[__HYPERVISOR_set_debugreg] = do_set_debugreg;
    table.handler[__HYPERVISOR_get_debugreg] = do_get_debugreg;
    table.handler[__HYPERVISOR_update_descriptor] = do_update_descriptor;
    table.handler[__HYPERVISOR_memory_op] = do_memory_op;
    table.handler[__HYPERVISOR_multicall] = do_multicall;
    table.handler[__HYPERVISOR_update_va_mapping] = do_update_va_mapping;
    table.handler[__HYPERVISOR_set_timer_op] = do_set_timer_op;
    table.handler[__HYPERVISOR_xen_version] = do_xen_version;
    table.handler[__HYPERVISOR_console_io] = do_console_io;
    table.handler[__HYPERVISOR_grant_table_op] = do_grant_table_op;
    table.handler[__HYPERVISOR_vm_assist] = do_vm_assist;
    table.handler[__HYPERVISOR_update_va_mapping_otherdomain] = do_update_va_mapping_otherdomain;
    table.handler[__HYPERVISOR_iret] = do_iret;
    table.handler[__HYPERVISOR_vcpu_op] = do_vcpu_op;
    table.handler[__HYPERVISOR_set_segment_base] = do_set_segment_base;
    table.handler[__HYPERVISOR_mmuext_op] = do_mmuext_op;
    table.handler[__HYPERVISOR_sched_op] = do_sched_op;
    table.handler[__HYPERVISOR_callback_op] = do_callback_op;
    table.handler[__HYPERVISOR_event_channel_op] = do_event_channel_op;
    table.handler[__HYPERVISOR_physdev_op] = do_physdev_op;
    table.handler[__HYPERVISOR_sysctl] = do_sysctl;
    table.handler[__HYPERVISOR_domctl] = do_domctl;
    table.handler[__HYPERVISOR_nmi_op] = do_nmi_op;
    table.handler[__HYPERVISOR_kexec_op] = do_kexec_op;
    table.handler[__HYPERVISOR_hypfs_op] = do_hypfs_op;
    table.handler[__HYPERVISOR_set_callbacks] = do_set_callbacks;
    table.handler[__HYPERVISOR_event_channel_op_compat] = do_event_channel_op_compat;
    table.handler[__HYPERVISOR_physdev_op_compat] = do_physdev_op_compat;
    table.handler[__HYPERVISOR_arch_0] = do_mca;
    table.handler[__HYPERVISOR_xenpmu_op] = no_counters;
    return table;
}

constexpr HypercallTable kPlain = all_handlers();

/// The same with a note of each call (counters.hpp), for the debug build.
template <unsigned Number>
Outcome noted(uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5) {
    counters::note_hypercall(arch::current(), Number, a1);
    return kPlain.handler[Number](a1, a2, a3, a4, a5);
}
template <size_t... Number>
constexpr HypercallTable with_notes(std::index_sequence<Number...>) {
    HypercallTable table = kPlain;
    if constexpr (counters::kOn) ((table.handler[Number] = noted<Number>), ...);
    return table;
}

}  // namespace

constinit const HypercallTable hypercall_table =
    with_notes(std::make_index_sequence<kHypercalls>{});
constinit std::atomic<const HypercallTable*> hypercalls_in_use{&hypercall_table};

HypercallHandler find_hypercall(uint64_t number) {
    if (number >= kHypercalls) [[unlikely]]
        return no_such_hypercall;
    // The guest chooses the index: keep the bound under speculation as well.
    return hypercalls_in_use.load(std::memory_order_relaxed)
        ->handler[base::index_nospec(number, kHypercalls)];
}

namespace {

/// While one is under way; a multicall within a multicall has always been refused.
class InMulticall {
  public:
    explicit InMulticall(Vcpu& vcpu) : vcpu_(vcpu) { vcpu_.in_multicall = true; }
    ~InMulticall() { vcpu_.in_multicall = false; }
    InMulticall(const InMulticall&) = delete;
    InMulticall& operator=(const InMulticall&) = delete;

  private:
    Vcpu& vcpu_;
};

/// preempt_requested(), in line: asked before each entry.
[[gnu::always_inline]] inline bool something_waits() {
    arch::poll_interrupts();
    return softirq_pending();
}

[[gnu::noinline]] Outcome interrupted(uint64_t address, uint64_t left) {
    return continue_with({address, left});
}

/// The entry at `address` is to go on with other arguments: it keeps the progress itself.
[[gnu::noinline]] Outcome continue_entry(uint64_t address, uint64_t left) {
    const Continuation c = arch::current().continuation;
    const GuestOut<xen_ulong_t> args(address + offsetof(multicall_entry, args));
    for (unsigned i = 0; i < c.count; ++i)
        if (const Result<> stored = args.store(c.args[i], i); !stored.ok()) return stored.error();
    return interrupted(address, left);
}

}  // namespace

// All copies in line (flatten), so that an entry goes from the guest's list into registers.
[[gnu::flatten]] Outcome do_multicall(uint64_t address, uint64_t count, uint64_t, uint64_t,
                                      uint64_t) {
    Vcpu& vcpu = arch::current();
    if (vcpu.in_multicall) return Errno::kEINVAL;
    const InMulticall mark(vcpu);
    for (uint64_t left = count; left;) {
        GuestElement<multicall_entry> element(GuestAddress(address), 0);
        multicall_entry e;
        if (!element.fetch(e)) return Errno::kEFAULT;
        const Outcome outcome =
            find_hypercall(e.op)(e.args[0], e.args[1], e.args[2], e.args[3], e.args[4]);
        if (outcome.again) [[unlikely]]
            return continue_entry(address, left);
        // The list belongs to a mode that the vCPU has left: what follows in it is not carried out.
        if (e.op == __HYPERVISOR_iret) [[unlikely]]
            return outcome;
        e.result = static_cast<uint64_t>(outcome.value);
        if (!element.store<offsetof(multicall_entry, result),
                           offsetof(multicall_entry, result) + sizeof(e.result)>(e))
            return Errno::kEFAULT;
        address += sizeof(multicall_entry);
        if (--left && something_waits()) [[unlikely]]
            return interrupted(address, left);
    }
    return Outcome(0);
}

}  // namespace hv
