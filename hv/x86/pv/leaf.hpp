// Leaf entries: what maps a guest's memory, and what most updates of page tables are about.
#pragma once

#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/paging/entry.hpp"

namespace hv::pv {

/// The references that a leaf entry stands for. `owner`: whose frames it may name (foreign maps);
/// `table_owner`: whose table it goes into. kEPERM: a device's that is not to be had; kEBUSY:
/// another's RAM, or it may not be written now; kEINVAL: cached in a way that is not its to choose.
/// `entry` becomes what may stand there: of a device, uncached, and read-only where only we write.
Result<> get_leaf(const Domain& table_owner, DomId owner, paging::Entry& entry);
void put_leaf(paging::Entry entry);

/// Replaces an entry of a checked L1 table of `table_owner`, with all references; `slot` points
/// into the direct map. `preserve_ad`: keep the processor's A and D bits. Under the paging lock of
/// `table_owner`, which may be shared. Fails like get_leaf().
Result<> replace_leaf(const Domain& table_owner, DomId frame_owner, paging::Entry* slot,
                      paging::Entry wanted, bool preserve_ad);
/// The same for a guest's own compare-and-exchange: only if the entry is `expected`, its A and D
/// bits as well, at the moment it is replaced; `matched` says whether it was.
Result<> replace_leaf_if(const Domain& table_owner, DomId frame_owner, paging::Entry* slot,
                         paging::Entry expected, paging::Entry wanted, bool& matched);

inline paging::Entry read_entry(const paging::Entry* slot) {
    return paging::Entry(
        __atomic_load_n(reinterpret_cast<const uint64_t*>(slot), __ATOMIC_RELAXED));
}

/// Writes `wanted` over `old`, an entry of any level; with `preserve_ad` the processor may set A
/// and D meanwhile, and they are carried over. False: the entry is no longer `old`, look again.
[[gnu::always_inline]] inline bool exchange_entry(paging::Entry* slot, paging::Entry old,
                                                  paging::Entry wanted, bool preserve_ad) {
    constexpr uint64_t kAd = paging::Entry::kAccessed | paging::Entry::kDirty;
    auto* word = reinterpret_cast<uint64_t*>(slot);
    uint64_t expected = old.raw();
    const uint64_t keep = preserve_ad ? kAd : 0;
    for (;;) {
        if (__atomic_compare_exchange_n(word, &expected, wanted.raw() | (expected & keep), false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) [[likely]]
            return true;
        if ((expected ^ old.raw()) & ~kAd) return false;
    }
}

}  // namespace hv::pv
