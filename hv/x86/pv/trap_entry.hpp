// How the entry code hands over what a PV guest did.
#pragma once

#include "arch/vcpu.hpp"

namespace hv::pv {

/// An exception raised by the guest that is current, other than a page fault; changes its
/// registers.
void guest_exception(arch::Registers& regs);
void guest_page_fault(arch::Registers& regs);

/// A page fault in the hypervisor that is no mistake: a descriptor of the guest's LDT that is not
/// mapped yet (segment loads on the way back to it). True: try again.
bool fix_hypervisor_fault(uint64_t address, uint32_t error_code);

/// Whether a guest (not the idle vCPU) is current.
bool in_guest_context();

}  // namespace hv::pv
