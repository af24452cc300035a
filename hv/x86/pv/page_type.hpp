// Direct paging: a frame becomes a page table only after every entry in it has been checked, and
// stays read-only to the guest while it is one. The references are counted in PageInfo::type.
//
// A table of level N holds, for each present entry, a type and a general reference on the table
// of level N-1 it names; an L1 table holds a general reference on each frame it maps, and a
// writable one where the mapping may write. Checking a tree can take long: it stops when
// something else is pending or another CPU waits for the lock (kERESTART), and goes on from
// PageInfo's aux.
//
// All of it runs under the paging lock of the domain that owns the tables: alone, unless it says
// otherwise.
#pragma once

#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/memory/page.hpp"
#include "hv/x86/paging/entry.hpp"

namespace hv::pv {

enum class Preempt : bool { kNo, kYes };

/// A type reference on a frame of `domain`, which the caller holds a general reference on; checks
/// the contents if the frame is not of that type yet. kEINVAL: bad contents or in use as another
/// type; kERESTART: interrupted, call again.
Result<> get_table_type(Domain& domain, PageInfo& page, PageType type, Preempt preempt);
/// Drops it; the last one drops what the table's entries hold. kERESTART: interrupted, and the
/// reference is still there: call again.
Result<> put_table_type(Domain& domain, PageInfo& page, Preempt preempt);

/// Both references on the frame `mfn` of `domain` (for CR3, pinning).
Result<> get_table(Domain& domain, Mfn mfn, PageType type, Preempt preempt);
/// get_table() for who is not checking another table at the time, with preemption: what a refused
/// table still counts when that is interrupted is parked.
Result<> get_table_or_park(Domain& domain, Mfn mfn, PageType type);
Result<> put_table(Domain& domain, Mfn mfn, Preempt preempt);

/// Both references on a checked table of that type which has some already. Only counts change, so
/// that sharing the lock is enough. False: it is no such table, or not the domain's.
bool get_table_again(const Domain& domain, Mfn mfn, PageType type);
/// Drops both, if others are left; false: they are the last. Sharing the lock is enough.
bool put_table_unless_last(Mfn mfn);

/// MMUEXT_PIN_Lx_TABLE: one more reference that stays until unpinned. kEINVAL: pinned already.
Result<> pin_table(Domain& domain, Mfn mfn, PageType type);
Result<> unpin_table(Domain& domain, Mfn mfn);
/// pin_table() of an L1 table with the lock shared. False: it takes the lock alone.
bool pin_leaf_table(Domain& domain, Mfn mfn, Result<>& result);
/// unpin_table() with the lock shared, if the table stays one without the pin. False: it does not,
/// or is not pinned, and nothing was done.
bool unpin_unless_last(const Domain& domain, Mfn mfn);

/// Replaces an entry of a live, checked table of `level` 2 to 4 (an L1 table's: leaf.hpp), with all
/// references; `slot` points into the direct map. `preserve_ad`: keep the processor's A and D bits.
/// kERESTART as above.
Result<> replace_entry(Domain& table_owner, PageInfo& table, unsigned level, paging::Entry* slot,
                       paging::Entry wanted, bool preserve_ad);

/// Drops both references; what is left to do when interrupted is parked with the current vCPU. If
/// something is parked there already, the table stays, pinned.
void drop_or_park(Domain& domain, Mfn mfn);
/// Finishes dropping a table that was left half dropped. Every operation on
/// page tables begins with it, so at most one is parked. kERESTART.
Result<> finish_parked(Vcpu& vcpu);

/// Undoes what a dying domain's tables hold, pinned or checked in part, in `page`. kERESTART.
Result<> force_release(Domain& domain, PageInfo& page);

}  // namespace hv::pv
