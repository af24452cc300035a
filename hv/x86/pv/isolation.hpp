// Page-table isolation of PV guests (`xpti=`): while such a guest runs, its CPU has an L4 table of
// its own, which shows the guest's half and of the hypervisor only what entry needs. See entry.S.
#pragma once

#include "base/result.hpp"
#include "hv/domain/domain.hpp"

namespace hv::pv::isolation {

/// Whether the hardware domain, or any other, is to be isolated: the option, else what the
/// processor needs.
bool wanted(bool hardware_domain);

/// Whether any domain may be.
bool possible();

/// For each CPU as it comes up: its isolated L4. kENOMEM.
Result<> prepare_cpu(CpuId cpu);

/// The current vCPU's tables were loaded or an L4 of its domain changed: what the CPU enters the
/// guest with is brought up to date.
void tables_changed(Vcpu& vcpu);

/// The same on every CPU that runs `domain` (an L4 entry was written).
void l4_changed(Domain& domain);
/// On the way to a guest: does what l4_changed() asked of this CPU.
void refresh_if_stale();

}  // namespace hv::pv::isolation
