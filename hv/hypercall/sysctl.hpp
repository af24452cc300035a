// sysctl by operation; each handler is in the file of its family.
#pragma once

#include <cstdint>

#include <xen/xen.h>

#include <xen/sysctl.h>

#include "hv/hypercall/outcome.hpp"

namespace hv::sysctl {

using Handler = Outcome (*)(xen_sysctl& op);

// sysctl_host.cpp
Outcome physinfo(xen_sysctl& op);
Outcome cputopoinfo(xen_sysctl& op);
Outcome numainfo(xen_sysctl& op);
Outcome getcpuinfo(xen_sysctl& op);
Outcome availheap(xen_sysctl& op);
Outcome get_cpu_levelling_caps(xen_sysctl& op);
Outcome get_cpu_featureset(xen_sysctl& op);
Outcome get_cpu_policy(xen_sysctl& op);

// sysctl_machine.cpp
Outcome pcitopoinfo(xen_sysctl& op);
Outcome cpu_hotplug(xen_sysctl& op);
Outcome page_offline_op(xen_sysctl& op);
Outcome livepatch_op(xen_sysctl& op);
Outcome no_cache_monitoring(xen_sysctl& op);
Outcome no_coverage(xen_sysctl& op);

// sysctl_counters.cpp
Outcome perfc_op(xen_sysctl& op);

// sysctl_trace.cpp
Outcome tbuf_op(xen_sysctl& op);

// sysctl_power.cpp
Outcome get_pmstat(xen_sysctl& op);
Outcome pm_op(xen_sysctl& op);

// sysctl_domains.cpp
Outcome getdomaininfolist(xen_sysctl& op);
Outcome sched_id(xen_sysctl& op);
Outcome scheduler_op(xen_sysctl& op);
Outcome cpupool_op(xen_sysctl& op);
Outcome readconsole(xen_sysctl& op);
Outcome debug_keys(xen_sysctl& op);

}  // namespace hv::sysctl
