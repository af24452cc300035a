// Port I/O of PV guests. Two questions decide: did the guest's kernel permit it (IOPL, or its I/O
// bitmap), and may the domain use the port at all (arch::may_use_ports). What the second denies
// reads as ones and swallows writes, as an empty bus does: drivers probe for devices that way, and
// Linux has no way to survive a #GP on inb.
#pragma once

#include "hv/domain/vcpu.hpp"

namespace hv::pv {

/// Whether the running code may use `bytes` ports from `port`; false: #GP for it.
bool port_access_permitted(Vcpu& vcpu, uint16_t port, unsigned bytes);
/// Whether CLI, STI and port I/O are permitted by IOPL alone. Kernel mode counts as ring 1, ring 0
/// with VMASST_TYPE_architectural_iopl.
bool iopl_permits(const Vcpu& vcpu);

/// For the domain of `vcpu`; `bytes` is 1, 2 or 4.
uint32_t read_port(Vcpu& vcpu, uint16_t port, unsigned bytes);
void write_port(Vcpu& vcpu, uint16_t port, unsigned bytes, uint32_t value);

}  // namespace hv::pv
