// HYPERVISOR_nmi_op and VCPUOP_send_nmi: NMIs that a domain sends itself (nmi.h).
#include <cstdint>

#include <xen/xen.h>
// after xen.h, whose types it uses
#include <xen/nmi.h>

#include "arch/cpu.hpp"
#include "arch/domain.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/sched/sched.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/x86/paging/entry.hpp"
#include "hv/x86/pv/traps.hpp"

namespace hv {

Result<> pv::register_nmi_handler(uint64_t address) {
    Vcpu& vcpu = arch::current();
    if (!paging::is_canonical(address) || vcpu.id.raw() != 0) return Errno::kEINVAL;
    constexpr uint8_t kMasksEvents = 4;
    trap_info& entry = vcpu.arch.pv.traps[kNmiVector];
    entry = {};
    entry.vector = kNmiVector;
    entry.flags = kMasksEvents;
    entry.cs = FLAT_KERNEL_CS;
    entry.address = address;
    return {};
}

void pv::unregister_nmi_handler() {
    arch::current().arch.pv.traps[kNmiVector] = {};
}

Outcome do_nmi_op(uint64_t command, uint64_t argument, uint64_t, uint64_t, uint64_t) {
    switch (static_cast<uint32_t>(command)) {
        case XENNMI_register_callback: {
            const Result<xennmi_callback> c = GuestIn<xennmi_callback>(argument).load();
            return c.ok() ? pv::register_nmi_handler(c->handler_address) : Result<>(c.error());
        }
        case XENNMI_unregister_callback:
            pv::unregister_nmi_handler();
            return Outcome(0);
        default:
            return Errno::kENOSYS;
    }
}

void arch::send_nmi(Vcpu& vcpu) {
    vcpu.arch.pv.nmi_pending.store(true);
    sched::wake(vcpu);
    raise_softirq_on(vcpu.cpu.load(), Softirq::kExitWork);
}

}  // namespace hv
