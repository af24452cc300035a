// domctl by operation: what a handler is given; each is in the file of its family.
#pragma once

#include <cstdint>

#include <xen/xen.h>

#include <xen/domctl.h>

#include "hv/domain/domain.hpp"
#include "hv/hypercall/outcome.hpp"

namespace hv::domctl {

struct Call {
    xen_domctl& op;  ///< copied in; copied back as the row says
    Domain* domain;  ///< named by op.domain; nullptr only where the row says so
};
using Handler = Outcome (*)(Call& call);

// domctl_life.cpp
Outcome createdomain(Call& call);
Outcome destroydomain(Call& call);
Outcome pausedomain(Call& call);
Outcome unpausedomain(Call& call);
Outcome resumedomain(Call& call);
Outcome max_vcpus(Call& call);

// domctl_settings.cpp
Outcome max_mem(Call& call);
Outcome setdomainhandle(Call& call);
Outcome settimeoffset(Call& call);
Outcome set_target(Call& call);
Outcome set_virq_handler(Call& call);
Outcome subscribe(Call& call);
Outcome setnodeaffinity(Call& call);
Outcome getnodeaffinity(Call& call);
Outcome scheduler_op(Call& call);

// domctl_info.cpp
Outcome getdomaininfo(Call& call);
Outcome getvcpuinfo(Call& call);
Outcome getpageframeinfo3(Call& call);
/// What getdomaininfo says of a domain; also for XEN_SYSCTL_getdomaininfolist.
void describe(Domain& domain, xen_domctl_getdomaininfo& info);

// domctl_vcpu.cpp
Outcome setvcpucontext(Call& call);
Outcome getvcpucontext(Call& call);
Outcome setvcpuaffinity(Call& call);
Outcome getvcpuaffinity(Call& call);

// domctl_state.cpp
Outcome getvcpuextstate(Call& call);
Outcome setvcpuextstate(Call& call);
Outcome get_vcpu_msrs(Call& call);
Outcome set_vcpu_msrs(Call& call);
Outcome get_ext_vcpucontext(Call& call);
Outcome set_ext_vcpucontext(Call& call);

// domctl_debug.cpp
Outcome setdebugging(Call& call);
Outcome gdbsx_pausevcpu(Call& call);
Outcome gdbsx_unpausevcpu(Call& call);
Outcome gdbsx_domstatus(Call& call);
Outcome gdbsx_guestmemio(Call& call);

// domctl_devices.cpp
Outcome irq_permission(Call& call);
Outcome iomem_permission(Call& call);
Outcome memory_mapping(Call& call);

// virtual_nodes.cpp
Outcome setvnumainfo(Call& call);

// domctl_refused.cpp
Outcome refused(Call& call);
Outcome vm_event_op(Call& call);
Outcome monitor_op(Call& call);

// domctl_x86.cpp
Outcome sendtrigger(Call& call);
Outcome set_address_size(Call& call);
Outcome get_address_size(Call& call);
Outcome settscinfo(Call& call);
Outcome gettscinfo(Call& call);
Outcome set_cpu_policy(Call& call);
Outcome get_cpu_policy(Call& call);
Outcome hypercall_init(Call& call);
Outcome ioport_permission(Call& call);

/// Whether `domain` is the caller's own, on which what pauses it cannot be done.
bool is_self(const Domain& domain);

}  // namespace hv::domctl
