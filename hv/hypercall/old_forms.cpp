// Hypercalls in the form they had before Xen 3.0.2, which old kernels and MiniOS still use: the
// command lies in the structure, and not in a register.
#include <cstddef>
#include <cstdint>

#include <xen/xen.h>

#include <xen/event_channel.h>
#include <xen/physdev.h>

#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"

namespace hv {

Outcome do_event_channel_op_compat(uint64_t address, uint64_t, uint64_t, uint64_t, uint64_t) {
    const GuestIn<uint32_t> command(address);
    const uint32_t number = TRY(command.load());
    switch (number) {
        case EVTCHNOP_bind_interdomain:
        case EVTCHNOP_bind_virq:
        case EVTCHNOP_bind_pirq:
        case EVTCHNOP_close:
        case EVTCHNOP_send:
        case EVTCHNOP_status:
        case EVTCHNOP_alloc_unbound:
        case EVTCHNOP_bind_ipi:
        case EVTCHNOP_bind_vcpu:
        case EVTCHNOP_unmask:
            return do_event_channel_op(number, address + offsetof(evtchn_op, u), 0, 0, 0);
    }
    return Errno::kENOSYS;
}

Outcome do_physdev_op_compat(uint64_t address, uint64_t, uint64_t, uint64_t, uint64_t) {
    const GuestIn<uint32_t> command(address);
    return do_physdev_op(TRY(command.load()), address + offsetof(physdev_op, u), 0, 0, 0);
}

}  // namespace hv
