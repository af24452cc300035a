// Direct paging: a frame becomes a page table only after every entry in it has been checked, and
// stays read-only to the guest while it is one. The references are counted in PageInfo::type.
//
// A table of level N holds, for each present entry, a type and a general reference on the table
// of level N-1 it names; an L1 table holds a general reference on each frame it maps, and a
// writable one where the mapping may write. Checking a tree can take long: it stops when
// something else is pending or another CPU waits for the lock (kERESTART), and goes on from
// PageInfo's aux.
//
//                 ┌───────────────────────────────────────────────────────────────┐
//                 ▼                                            all entries dropped │
//     untyped ──▶ being checked ──all──▶ checked ──last reference──▶ being dropped ┘
//     count 0     │ ▲   one CPU's        kValidated                  kPartial, kDropping
//                 ▼ │   count 1          count 1…                    one CPU's or vCPU's
//                waits, kPartial: nobody's, whoever wants it goes on
//
// All of it runs under the paging lock of the domain that owns the tables (paging_lock.hpp): alone,
// or shared by several who make frames tables or drop them. Each step to another state is one
// exchange of the type word, and what is one CPU's all others leave alone (kERESTART).
#pragma once

#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/memory/page.hpp"
#include "hv/x86/paging/entry.hpp"

namespace hv::pv {

/// How the paging lock is held meanwhile, and whether the work may stop half-way.
enum class Hold : uint8_t {
    kAlone,          ///< to the end
    kAloneInParts,   ///< kERESTART: call again
    kSharedInParts,  ///< by TablesGuard; kERESTART also where another CPU is just at one of the
                     ///< tables
};

/// From get_table(): refused after long checking, and dropping what the table had counted was
/// interrupted. The caller holds it like one that was not refused, to drop the rest (drop_or_park).
inline constexpr Errno kHalfUndone = Errno::kENOTEMPTY;

/// A type reference on a frame of `domain`, which the caller holds a general reference on; checks
/// the contents if the frame is not of that type yet. kEINVAL: bad contents or in use as another
/// type.
Result<> get_table_type(Domain& domain, PageInfo& page, PageType type);

/// Both references on the frame `mfn` of `domain` (for CR3, pinning). kEINVAL, kERESTART,
/// kHalfUndone.
Result<> get_table(Domain& domain, Mfn mfn, PageType type, Hold hold);
/// Drops both; the last ones drop what the table's entries hold. kERESTART: interrupted, and the
/// references are still there.
Result<> put_table(Domain& domain, Mfn mfn, Hold hold);

/// Both references on a checked table of that type which has some already. Only counts change, so
/// that any way of sharing the lock is enough. False: it is no such table, or not the domain's.
bool get_table_again(const Domain& domain, Mfn mfn, PageType type);
/// Drops both, if others are left; false: they are the last. Any way of sharing is enough.
bool put_table_unless_last(Mfn mfn);

/// Replaces an entry of a live, checked table of `level` 2 to 4 (an L1 table's: leaf.hpp), with all
/// references; `slot` points into the direct map. `preserve_ad`: keep the processor's A and D bits.
/// Alone. kERESTART as above.
Result<> replace_entry(Domain& table_owner, PageInfo& table, unsigned level, paging::Entry* slot,
                       paging::Entry wanted, bool preserve_ad);

}  // namespace hv::pv
