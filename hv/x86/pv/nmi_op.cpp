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

namespace hv {

Outcome do_nmi_op(uint64_t command, uint64_t argument, uint64_t, uint64_t, uint64_t) {
    Vcpu& vcpu = arch::current();
    switch (static_cast<uint32_t>(command)) {
        case XENNMI_register_callback: {
            const Result<xennmi_callback> c = GuestIn<xennmi_callback>(argument).load();
            if (!c.ok()) return c.error();
            if (!paging::is_canonical(c->handler_address) || vcpu.id.raw() != 0)
                return Errno::kEINVAL;
            vcpu.arch.pv.nmi_callback = c->handler_address;
            return Outcome(0);
        }
        case XENNMI_unregister_callback:
            vcpu.arch.pv.nmi_callback = 0;
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
