// Writes to device pages that Domain 0 may only read (device_access()): its drivers do not know
// that somebody else writes there. They have no effect.
#pragma once

#include "arch/vcpu.hpp"

namespace hv::pv {

/// From a write fault at `cr2` in the current vCPU's kernel mode. True: the instruction is done, go
/// back to the guest. False: not such a page, or not an instruction that only writes: the guest
/// gets the #PF.
bool drop_device_write(arch::Registers& regs, uint64_t cr2);

}  // namespace hv::pv
