// Tables that somebody holds: pins, and what is left to be dropped of tables that took too long.
#pragma once

#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/memory/page.hpp"
#include "hv/x86/pv/page_type.hpp"

namespace hv::pv {

/// MMUEXT_PIN_Lx_TABLE: a reference that stays until unpinned. Takes the paging lock. kEINVAL:
/// pinned already, or get_table()'s; kERESTART: interrupted, call again.
Result<> pin_table(Domain& domain, Mfn mfn, PageType type);
/// MMUEXT_UNPIN_TABLE. Takes the paging lock. kEINVAL: not pinned. What is left to do when
/// interrupted is parked.
Result<> unpin_table(Domain& domain, Mfn mfn);

// Under the paging lock, held as `hold` says, which lets it be done in parts:

/// get_table() for who is not checking another table at the time: what a refused table still counts
/// when that is interrupted is parked.
Result<> get_table_or_park(Domain& domain, Mfn mfn, PageType type, Hold hold);
/// Drops both references; what is left to do when interrupted is parked with the current vCPU. If
/// something is parked there already, the table stays, pinned.
void drop_or_park(Domain& domain, Mfn mfn, Hold hold);
/// Alone. Undoes what a dying domain's tables hold, pinned or checked in part, in `page`.
/// kERESTART.
Result<> force_release(Domain& domain, PageInfo& page);

/// Finishes dropping a table that was left half dropped. Every operation on
/// page tables begins with it, so at most one is parked. Takes the paging lock. kERESTART.
Result<> finish_parked(Vcpu& vcpu);

}  // namespace hv::pv
