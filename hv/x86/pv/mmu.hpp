// What other parts of pv/ ask of the page-table code, for the vCPU that runs here.
#pragma once

#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/paging/entry.hpp"

namespace hv::pv {

/// The L1 entry that maps `linear` in the tables loaded for `vcpu` (of kernel or user mode), in
/// the direct map; nullptr if a table on the way is missing. Also without the paging lock: a table
/// that another vCPU takes away meanwhile cannot be written by the guest before this CPU has been
/// flushed, and it is not while it walks here; the entry found may be an old one then.
paging::Entry* find_leaf(const Vcpu& vcpu, uint64_t linear);

/// An emulated write to the L1 entry at `linear` (the entry's own address): writes `new_pte` if
/// `compare` is false or the entry is `old_pte`; `matched` says whether it was. kEINVAL: not a
/// page table of the guest's, or an entry it may not have.
Result<> write_pte_checked(uint64_t linear, uint64_t old_pte, uint64_t new_pte, bool compare,
                           bool& matched);

/// Whether `linear` is the address of an L1 table's entry of the current domain (mapped read-only).
bool is_page_table_address(uint64_t linear);

/// MMUEXT_NEW_BASEPTR, and mov to CR3. kEINVAL, kERESTART.
Result<> new_base_pointer(Mfn mfn);
Result<> new_user_base_pointer(Mfn mfn);  ///< MMUEXT_NEW_USER_BASEPTR; MFN 0: none

/// Enters an L4 table, whose references the vCPU takes over, as that of kernel or user mode
/// (kInvalidMfn: none), and sees that it shows the M2P, or not. Under the paging lock.
void set_kernel_table(Vcpu& vcpu, Mfn l4);
void set_user_table(Vcpu& vcpu, Mfn l4);

void invalidate_page(uint64_t linear);  ///< on this CPU

/// Loads the page tables of the guest's current mode (after a change of mode or of a table).
void load_page_tables(Vcpu& vcpu);
/// Between the guest's kernel and user mode: page tables and GS base.
void toggle_mode(Vcpu& vcpu);

}  // namespace hv::pv
