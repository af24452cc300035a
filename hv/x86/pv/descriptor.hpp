// A PV guest's GDT and LDT: pages of its own, checked descriptor by descriptor, mapped into the
// vCPU's window (paging/layout.hpp). The GDT at once, the LDT page by page as it is used.
#pragma once

#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/paging/entry.hpp"

namespace hv::pv {

/// Makes one descriptor harmless (DPL 3) or says that it cannot be: kEINVAL for gates and system
/// segments.
Result<> check_descriptor(uint64_t& descriptor);
/// The same for all 512 of a page; the caller makes sure nobody writes it meanwhile.
Result<> check_descriptor_page(Mfn mfn);

/// Tables for the vCPU's window. kENOMEM.
Result<> create_window(Vcpu& vcpu);
/// Frees all windows of a domain.
void destroy_windows(Domain& domain);
/// The L1 entry of page `page` (0…31) of the window; nullptr before create_window().
paging::Entry* window_entry(const Vcpu& vcpu, unsigned page);

/// HYPERVISOR_set_gdt for a vCPU that is current or does not run: frames hold `entries`
/// descriptors. kEINVAL; on failure the old GDT stays.
Result<> set_gdt(Vcpu& vcpu, const Mfn* frames, uint32_t entries);
void drop_gdt(Vcpu& vcpu);
/// MMUEXT_SET_LDT. kEINVAL.
Result<> set_ldt(Vcpu& vcpu, uint64_t linear, uint32_t entries);
void drop_ldt(Vcpu& vcpu);
/// Loads LDTR for the current vCPU.
void load_ldt(Vcpu& vcpu);

/// Maps the page of the current vCPU's LDT that `address`, in its window, falls in. False: there
/// is none, the fault is real.
bool fault_in_ldt(uint64_t address);

}  // namespace hv::pv
