// The flush that a guest asks for together with an update (UVMF_*), or alone (mmuext_op).
#pragma once

#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/outcome.hpp"

namespace hv::pv {

/// UVMF_*: nothing, the page or everything; here, on all CPUs of the domain, or on those of a set
/// of vCPUs (the flags then hold the address of its bitmap). kEFAULT.
Result<> flush_after_update(Vcpu& vcpu, uint64_t linear, uint64_t flags);

/// The CPUs whose TLBs may hold entries of the vCPUs in the guest's bitmap. kEFAULT.
Result<CpuMask> cpus_of_vcpus(Domain& domain, GuestIn<uint64_t> bitmap);

}  // namespace hv::pv
