// MSRs as a PV guest reads and writes them.
#pragma once

#include "hv/domain/vcpu.hpp"

namespace hv::pv {

/// For the current vCPU's kernel. False: #GP for the guest.
bool read_msr(Vcpu& vcpu, uint32_t number, uint64_t& value);
bool write_msr(Vcpu& vcpu, uint32_t number, uint64_t value);

/// For the context switch: MSRs that hold a guest's values while it runs (TSC_AUX).
void load_guest_msrs(const Vcpu& next);

}  // namespace hv::pv
