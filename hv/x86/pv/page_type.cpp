#include "hv/x86/pv/page_type.hpp"

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/x86/paging/host.hpp"
#include "hv/x86/pv/descriptor.hpp"
#include "hv/x86/pv/isolation.hpp"
#include "hv/x86/pv/leaf.hpp"

namespace hv::pv {
namespace {

using paging::Entry;
using paging::kEntries;

constexpr uint64_t kCountOne = 1;

// A table entry may be neither a large page (direct paging has none) nor global, nor have the
// processor read the table past its caches. Leaves: leaf.cpp.
constexpr uint64_t kTableRefused =
    Entry::kLarge | Entry::kGlobal | Entry::kWriteThrough | Entry::kCacheDisable;

// A table was refused after long checking, and dropping what it counted was interrupted: whoever
// asked for it holds it like one that was not refused, to drop the rest. Never leaves this file.
constexpr Errno kHalfUndone = Errno::kENOTEMPTY;

// Who shares the lock found an L1 table that another sharer is just checking. Never leaves this
// file.
constexpr Errno kBeingChecked = Errno::kEDEADLK;

constexpr unsigned level_of(PageType type) {
    return static_cast<unsigned>(type);
}
constexpr bool is_table(PageType type) {
    return type >= PageType::kL1 && type <= PageType::kL4;
}
constexpr PageType table_below(unsigned level) {
    return static_cast<PageType>(level - 1);
}

uint64_t type_bits(PageType type) {
    return static_cast<uint64_t>(type) << PageInfo::kTypeShift;
}
uint32_t aux_of(uint64_t word) {
    return static_cast<uint32_t>(word >> PageInfo::kAuxShift);
}
uint64_t with_aux(uint64_t word, uint32_t aux) {
    return (word & ((uint64_t{1} << PageInfo::kAuxShift) - 1)) | uint64_t{aux}
                                                                     << PageInfo::kAuxShift;
}

Entry* entries_of(const PageInfo& page) {
    return arch::mfn_to_virt<Entry>(mfn_of(page));
}

void write_entry(Entry* slot, Entry value) {
    __atomic_store_n(reinterpret_cast<uint64_t*>(slot), value.raw(), __ATOMIC_RELEASE);
}

// ---- references of single entries -----------------------------------------------------------

/// The reference that an entry of a table of `level` >= 2 stands for.
Result<> get_lower(Domain& domain, unsigned level, Entry e, Preempt preempt) {
    if (e.raw() & kTableRefused) return Errno::kEINVAL;
    return get_table(domain, e.mfn(), table_below(level), preempt);
}

/// The same on any level; a leaf may be changed to what may stand there.
Result<> get_entry(Domain& domain, unsigned level, Entry& e, Preempt preempt) {
    if (!e.present()) return {};
    if (level == 1) return get_leaf(domain, domain.id, e);
    return get_lower(domain, level, e, preempt);
}

Result<> put_entry(Domain& domain, unsigned level, Entry e, Preempt preempt) {
    if (!e.present()) return {};
    if (level == 1) {
        put_leaf(e);
        return {};
    }
    return put_table(domain, e.mfn(), preempt);
}

Entry adjusted(unsigned level, Entry e) {
    return level == 1 ? paging::adjust_guest_leaf(e) : paging::adjust_guest_table(e);
}

bool is_guest_slot(unsigned level, size_t index) {
    return level < 4 || !paging::is_hypervisor_slot(index);
}

/// Whether to go on later: something is pending here, or another CPU waits for the paging lock,
/// which it would not get before a whole tree is through.
bool must_stop(const Domain& domain) {
    return domain.arch.paging_lock.is_wanted() || preempt_requested();
}

// ---- whole tables ---------------------------------------------------------------------------

/// Drops what entries [0, count) hold, from the top. kERESTART: `count` says how many still do.
Result<> drop_entries(Domain& domain, PageInfo& page, unsigned level, uint32_t& count,
                      Preempt preempt) {
    Entry* table = entries_of(page);
    while (count) {
        const Entry e = read_entry(&table[count - 1]);
        const bool holds = e.present() && is_guest_slot(level, count - 1);
        if (holds) TRY(put_entry(domain, level, e, preempt));
        --count;
        if (!holds) continue;  // was no work that anybody would have to be let in for
        if (preempt == Preempt::kYes && level > 1 && count && must_stop(domain))
            return Errno::kERESTART;
    }
    return {};
}

/// Checks entries from `count` on and takes their references. On an error entries [0, count) hold
/// theirs.
Result<> take_entries(Domain& domain, PageInfo& page, unsigned level, uint32_t& count,
                      Preempt preempt) {
    Entry* table = entries_of(page);
    for (; count < kEntries; ++count) {
        if (!is_guest_slot(level, count)) continue;
        Entry e = read_entry(&table[count]);
        if (!e.present()) continue;
        const Result<> taken = get_entry(domain, level, e, preempt);
        if (!taken.ok()) {
            if (taken.error() == Errno::kERESTART) return taken.error();
            guest_log(LogLevel::kDebug, "L{} table {:x}: entry {} = {:x} refused, error {}", level,
                      mfn_of(page), count, e.raw(), taken.error());
            if (taken.error() == kHalfUndone) ++count;
            return taken.error();
        }
        write_entry(&table[count], adjusted(level, e));
        if (preempt == Preempt::kYes && level > 1 && count + 1 < kEntries && must_stop(domain)) {
            ++count;
            return Errno::kERESTART;
        }
    }
    return {};
}

/// A table is refused: its first `count` entries are dropped again. `why`, or kHalfUndone.
Result<> undo(Domain& domain, PageInfo& page, unsigned level, uint32_t count, Errno why,
              Preempt preempt) {
    const Result<> dropped = drop_entries(domain, page, level, count, preempt);
    if (dropped.ok()) return why == kHalfUndone ? Errno::kEINVAL : why;
    page.type.store(with_aux(page.type.load() | PageInfo::kPartial | PageInfo::kDropping, count));
    return kHalfUndone;
}

/// Checks the contents of a frame that has just become `type` (count 1, not validated).
Result<> validate(Domain& domain, PageInfo& page, PageType type, Preempt preempt) {
    if (type == PageType::kDescriptor) {
        TRY(check_descriptor_page(mfn_of(page)));
    } else {
        const unsigned level = level_of(type);
        uint32_t done = aux_of(page.type.load());
        const Result<> result = take_entries(domain, page, level, done, preempt);
        if (!result.ok() && result.error() == Errno::kERESTART) {
            page.type.store(with_aux(page.type.load(), done) | PageInfo::kPartial);
            return result.error();
        }
        if (!result.ok()) return undo(domain, page, level, done, result.error(), preempt);
        if (level == 4) {
            paging::fill_hypervisor_slots(entries_of(page), domain.arch.perdomain_l3);
            isolation::stamp(entries_of(page));
        }
    }
    uint64_t word = page.type.load();
    page.type.store(with_aux((word & ~PageInfo::kPartial) | PageInfo::kValidated, 0));
    return {};
}

/// Flushes the TLBs that may still hold the frame as what it was before.
void flush_before_change(Domain& domain, uint64_t word) {
    const CpuMask stale = arch::cpus_not_flushed_since(domain.dirty_cpus.snapshot(), aux_of(word));
    if (!stale.empty()) arch::flush_tlb(stale);
}

/// The frame leaves its type: count 0, nobody's, with the stamp of now.
void become_untyped(PageInfo& page, PageType type) {
    page.type.store(with_aux(type_bits(type), arch::tlb_flush_stamp()));
}

}  // namespace

Result<> get_table_type(Domain& domain, PageInfo& page, PageType type, Preempt preempt) {
    uint64_t word = page.type.load();
    for (;;) {
        const uint64_t count = word & PageInfo::kTypeCountMask;
        const bool same = (word & PageInfo::kTypeMask) == type_bits(type);
        if (count == PageInfo::kTypeCountMask) return Errno::kEINVAL;
        if (count && !same) return Errno::kEINVAL;
        if (count && (word & PageInfo::kPartial)) {
            // Checked in part and then interrupted, for nobody: go on where that stopped. Being
            // dropped in part (kDropping) it belongs to whoever drops it, who must finish first.
            if (word & PageInfo::kDropping) return Errno::kERESTART;
            break;
        }
        if (count) {
            if (!(word & PageInfo::kValidated)) return kBeingChecked;
            if (page.type.compare_exchange_weak(word, word + kCountOne)) return {};
            continue;
        }
        const uint64_t fresh = type_bits(type) | kCountOne;
        if (!page.type.compare_exchange_weak(word, fresh)) continue;
        if (!same) flush_before_change(domain, word);
        break;
    }
    const Result<> result = validate(domain, page, type, preempt);
    if (!result.ok() && result.error() != Errno::kERESTART && result.error() != kHalfUndone)
        become_untyped(page, type);
    return result;
}

Result<> put_table_type(Domain& domain, PageInfo& page, Preempt preempt) {
    uint64_t word = page.type.load();
    while ((word & PageInfo::kTypeCountMask) > 1)
        if (page.type.compare_exchange_weak(word, word - kCountOne)) return {};

    const auto type = static_cast<PageType>((word & PageInfo::kTypeMask) >> PageInfo::kTypeShift);
    if (is_table(type)) {
        uint32_t left = (word & PageInfo::kPartial) ? aux_of(word) : uint32_t{kEntries};
        page.type.store(with_aux(
            (word & ~PageInfo::kValidated) | PageInfo::kPartial | PageInfo::kDropping, left));
        const Result<> result = drop_entries(domain, page, level_of(type), left, preempt);
        if (!result.ok()) {
            page.type.store(with_aux(page.type.load(), left));
            return result.error();
        }
    }
    become_untyped(page, type);
    return {};
}

namespace {

/// Checked in part, for nobody: the type reference waits with a general one of its own, so that
/// the frame cannot be given away while entries of it are counted.
bool waits_half_checked(const PageInfo& page) {
    const uint64_t word = page.type.load();
    return (word & PageInfo::kPartial) && !(word & PageInfo::kDropping);
}

}  // namespace

Result<> get_table(Domain& domain, Mfn mfn, PageType type, Preempt preempt) {
    PageRef ref = TRY(PageRef::take(mfn, domain.id));
    const bool waited = waits_half_checked(*ref.get());
    const Result<> result = get_table_type(domain, *ref.get(), type, preempt);
    // The type reference, also one that waits, brings a general one along: ours, or that which it
    // has had since it was interrupted.
    const bool waits = waits_half_checked(*ref.get());
    const bool keeps = waits || result.ok() || result.error() == kHalfUndone;
    if (!waited && keeps) (void)ref.release();
    if (waited && !keeps) ref->put();
    return result;
}

Result<> get_table_or_park(Domain& domain, Mfn mfn, PageType type) {
    const Result<> result = get_table(domain, mfn, type, Preempt::kYes);
    if (result.ok() || result.error() != kHalfUndone) return result;
    drop_or_park(domain, mfn);
    return Errno::kEINVAL;
}

Result<> put_table(Domain& domain, Mfn mfn, Preempt preempt) {
    PageInfo& page = *page_info(mfn);
    TRY(put_table_type(domain, page, preempt));
    page.put();
    return {};
}

bool get_table_again(const Domain& domain, Mfn mfn, PageType type) {
    PageInfo* page = page_info(mfn);
    if (!page || !page->get(domain.id)) return false;
    uint64_t word = page->type.load();
    for (;;) {
        const uint64_t count = word & PageInfo::kTypeCountMask;
        const bool checked =
            (word & (PageInfo::kTypeMask | PageInfo::kValidated | PageInfo::kPartial)) ==
            (type_bits(type) | PageInfo::kValidated);
        if (!checked || count == 0 || count == PageInfo::kTypeCountMask) break;
        if (page->type.compare_exchange_weak(word, word + kCountOne)) return true;
    }
    page->put();
    return false;
}

bool put_table_unless_last(Mfn mfn) {
    PageInfo& page = page_of(mfn);
    uint64_t word = page.type.load();
    do {
        if ((word & PageInfo::kTypeCountMask) <= 1) return false;
    } while (!page.type.compare_exchange_weak(word, word - kCountOne));
    page.put();
    return true;
}

namespace {

/// The reference of a pin, taken just now, gets its mark; kEINVAL: pinned already. Sharing the lock
/// is enough.
Result<> mark_pinned(Mfn mfn) {
    std::atomic<uint64_t>& type = page_of(mfn).type;
    while (type.fetch_or(PageInfo::kPinned) & PageInfo::kPinned) {
        // The other pin has a reference beside ours, unless somebody who shares the lock has undone
        // it since: then ours is the last, must not go, and becomes the pin's.
        if (put_table_unless_last(mfn)) return Errno::kEINVAL;
    }
    return {};
}

}  // namespace

Result<> pin_table(Domain& domain, Mfn mfn, PageType type) {
    TRY(get_table_or_park(domain, mfn, type));
    return mark_pinned(mfn);
}

bool pin_leaf_table(Domain& domain, Mfn mfn, Result<>& result) {
    // Its entries are leaves, each of which anybody may count who shares the lock. Until they all
    // are, the frame is a table that is not validated, which all others leave alone.
    result = get_table(domain, mfn, PageType::kL1, Preempt::kNo);
    if (!result.ok() && result.error() == kBeingChecked) return false;
    if (result.ok()) result = mark_pinned(mfn);
    return true;
}

Result<> unpin_table(Domain& domain, Mfn mfn) {
    PageRef ref = TRY(PageRef::take(mfn, domain.id));
    uint64_t word = ref->type.load();
    do {
        if (!(word & PageInfo::kPinned)) return Errno::kEINVAL;
    } while (!ref->type.compare_exchange_weak(word, word & ~PageInfo::kPinned));
    drop_or_park(domain, mfn);
    return {};
}

bool unpin_unless_last(const Domain& domain, Mfn mfn) {
    PageInfo* page = page_info(mfn);
    if (!page || !page->get(domain.id)) return false;
    uint64_t word = page->type.load();
    bool others;
    do {
        others = (word & PageInfo::kPinned) && (word & PageInfo::kTypeCountMask) > 1;
    } while (others &&
             !page->type.compare_exchange_weak(word, (word & ~PageInfo::kPinned) - kCountOne));
    if (others) page->put();  // the pin's
    page->put();
    return others;
}

void drop_or_park(Domain& domain, Mfn mfn) {
    arch::PvVcpu& pv = arch::current().arch.pv;
    if (pv.parked_table != kInvalidMfn) {
        // Two at once: this one's reference becomes that of a pin, or there is one beside it.
        if (page_of(mfn).type.fetch_or(PageInfo::kPinned) & PageInfo::kPinned)
            (void)put_table(domain, mfn, Preempt::kNo);
        return;
    }
    if (put_table(domain, mfn, Preempt::kYes).ok()) return;
    pv.parked_table = mfn;
    pv.parked_domain = domain.id;
}

// ---- one entry of a live table --------------------------------------------------------------

Result<> replace_entry(Domain& table_owner, PageInfo& table, unsigned level, Entry* slot,
                       Entry wanted, bool preserve_ad) {
    const auto index = static_cast<size_t>(slot - entries_of(table));
    if (!is_guest_slot(level, index)) return Errno::kEINVAL;
    // A lower table that is replaced may take long to drop; it is parked with the vCPU then, and
    // an entry is only replaced when there is nothing parked yet.
    const Entry old = read_entry(slot);
    wanted = paging::adjust_guest_table(wanted);
    constexpr uint64_t kMatters = Entry::kAddress | Entry::kPresent;
    const bool same = old.present() && wanted.present() && !((old.raw() ^ wanted.raw()) & kMatters);
    if (wanted.present() && (wanted.raw() & kTableRefused)) return Errno::kEINVAL;
    if (!same && wanted.present())
        TRY(get_table_or_park(table_owner, wanted.mfn(), table_below(level)));
    // Under the paging lock nobody but the processor writes here, and it only sets A.
    while (!exchange_entry(slot, old, wanted, preserve_ad && wanted.present())) {
    }
    if (same || !old.present()) return {};
    drop_or_park(table_owner, old.mfn());
    return {};
}

Result<> finish_parked(Vcpu& vcpu) {
    Mfn& parked = vcpu.arch.pv.parked_table;
    if (parked == kInvalidMfn) return {};
    // A control domain may have unpinned another domain's table: that domain cannot be gone, since
    // the table still holds its frames.
    DomainRef owner = TRY(Domain::find(vcpu.arch.pv.parked_domain));
    AloneGuard guard(owner->arch.paging_lock);
    TRY(put_table(*owner, parked, Preempt::kYes));
    parked = kInvalidMfn;
    return {};
}

Result<> force_release(Domain& domain, PageInfo& page) {
    uint64_t word = page.type.load();
    if (word & PageInfo::kPinned) {
        page.type.fetch_and(~PageInfo::kPinned);
        const Result<> result = put_table(domain, mfn_of(page), Preempt::kYes);
        if (!result.ok()) {
            page.type.fetch_or(PageInfo::kPinned);  // so that the next round finds it again
            return result.error();
        }
    }
    // Interrupted while it was checked: nobody holds that reference. (A table dropped in part
    // belongs to the table, pin or vCPU that drops it.)
    if (waits_half_checked(page)) {
        const Result<> result = put_table(domain, mfn_of(page), Preempt::kYes);
        if (!result.ok()) {
            // Half dropped now, and still nobody's: the next round is to find it again.
            page.type.fetch_and(~PageInfo::kDropping);
            return result.error();
        }
    }
    return {};
}

}  // namespace hv::pv
