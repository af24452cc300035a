// domctl: what cannot be done to a PV domain, or on this machine at all. Each is refused as Xen
// refuses it for a PV domain, so that the tools take the way they take there.
#include <cstdint>

#include <xen/xen.h>

#include <xen/vm_event.h>

#include "hv/hypercall/domctl.hpp"

namespace hv::domctl {

namespace {

struct Refusal {
    uint32_t command;
    Errno error;
};

constexpr Refusal kRefusals[] = {
    // State of the platform that is emulated for HVM guests.
    {XEN_DOMCTL_gethvmcontext, Errno::kEINVAL},
    {XEN_DOMCTL_sethvmcontext, Errno::kEINVAL},
    {XEN_DOMCTL_gethvmcontext_partial, Errno::kEINVAL},
    {XEN_DOMCTL_debug_op, Errno::kEINVAL},
    {XEN_DOMCTL_ioport_mapping, Errno::kEOPNOTSUPP},
    {XEN_DOMCTL_bind_pt_irq, Errno::kEINVAL},
    {XEN_DOMCTL_unbind_pt_irq, Errno::kEINVAL},
    {XEN_DOMCTL_soft_reset, Errno::kEINVAL},
    {XEN_DOMCTL_vmtrace_op, Errno::kEINVAL},
    // What needs a second stage of translation, which PV guests do without.
    {XEN_DOMCTL_set_broken_page_p2m, Errno::kEINVAL},
    {XEN_DOMCTL_get_paging_mempool_size, Errno::kEOPNOTSUPP},
    {XEN_DOMCTL_set_paging_mempool_size, Errno::kEOPNOTSUPP},
    {XEN_DOMCTL_set_access_required, Errno::kEOPNOTSUPP},
    // Log-dirty of a PV domain stands on shadow page tables: as a Xen without them answers.
    {XEN_DOMCTL_shadow_op, Errno::kEOPNOTSUPP},
    // Devices are handed on behind an IOMMU only, and none is in use.
    {XEN_DOMCTL_assign_device, Errno::kEOPNOTSUPP},
    {XEN_DOMCTL_test_assign_device, Errno::kEOPNOTSUPP},
    {XEN_DOMCTL_deassign_device, Errno::kEOPNOTSUPP},
    {XEN_DOMCTL_get_device_group, Errno::kEOPNOTSUPP},
    // Cache monitoring and allocation: not used, whether or not the processor has them.
    {XEN_DOMCTL_psr_cmt_op, Errno::kENODEV},
    {XEN_DOMCTL_psr_alloc, Errno::kENODEV},
};

}  // namespace

Outcome refused(Call& call) {
    for (const Refusal& refusal : kRefusals)
        if (refusal.command == call.op.cmd) return refusal.error;
    return Errno::kENOSYS;
}

/// The version of the ring's format can be asked for; no ring can be set up for a PV guest.
Outcome vm_event_op(Call& call) {
    auto& op = call.op.u.vm_event_op;
    if (op.op == XEN_VM_EVENT_GET_VERSION) {
        op.u.version = VM_EVENT_INTERFACE_VERSION;
        return Outcome{};
    }
    if (!call.domain) return Errno::kESRCH;
    if (is_self(*call.domain)) return Errno::kEINVAL;
    return op.mode == XEN_DOMCTL_VM_EVENT_OP_MONITOR ? Errno::kENODEV : Errno::kENOSYS;
}

/// Nothing of a PV guest can be watched: the set of events is empty.
Outcome monitor_op(Call& call) {
    constexpr uint32_t kEvents = 32;
    auto& op = call.op.u.monitor_op;
    if (is_self(*call.domain)) return Errno::kEPERM;
    switch (op.op) {
        case XEN_DOMCTL_MONITOR_OP_GET_CAPABILITIES:
            op.event = 0;
            return Outcome{};
        case XEN_DOMCTL_MONITOR_OP_ENABLE:
        case XEN_DOMCTL_MONITOR_OP_DISABLE:
            return op.event < kEvents ? Errno::kEOPNOTSUPP : Errno::kEINVAL;
    }
    return Errno::kEOPNOTSUPP;
}

}  // namespace hv::domctl
