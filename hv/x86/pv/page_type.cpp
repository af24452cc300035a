#include "hv/x86/pv/page_type.hpp"

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/x86/paging/host.hpp"
#include "hv/x86/pv/descriptor.hpp"
#include "hv/x86/pv/isolation.hpp"
#include "hv/x86/pv/leaf.hpp"
#include "hv/x86/pv/pin.hpp"
#include "hv/x86/pv/type_word.hpp"

namespace hv::pv {
namespace {

using paging::Entry;
using paging::kEntries;

// A table entry may be neither a large page (direct paging has none) nor global, nor have the
// processor read the table past its caches. Leaves: leaf.cpp.
constexpr uint64_t kTableRefused =
    Entry::kLarge | Entry::kGlobal | Entry::kWriteThrough | Entry::kCacheDisable;

constexpr unsigned level_of(PageType type) {
    return static_cast<unsigned>(type);
}
constexpr PageType table_below(unsigned level) {
    return static_cast<PageType>(level - 1);
}

Entry* entries_of(const PageInfo& page) {
    return arch::mfn_to_virt<Entry>(mfn_of(page));
}

void write_entry(Entry* slot, Entry value) {
    __atomic_store_n(reinterpret_cast<uint64_t*>(slot), value.raw(), __ATOMIC_RELEASE);
}

// ---- references of single entries -----------------------------------------------------------

/// The reference that an entry of a table of `level` >= 2 stands for.
Result<> get_lower(Domain& domain, unsigned level, Entry e, Hold hold) {
    if (e.raw() & kTableRefused) return Errno::kEINVAL;
    return get_table(domain, e.mfn(), table_below(level), hold);
}

/// The same on any level; a leaf may be changed to what may stand there.
Result<> get_entry(Domain& domain, unsigned level, Entry& e, Hold hold) {
    if (!e.present()) return {};
    if (level == 1) return get_leaf(domain, domain.id, e);
    return get_lower(domain, level, e, hold);
}

Entry adjusted(unsigned level, Entry e) {
    return level == 1 ? paging::adjust_guest_leaf(e) : paging::adjust_guest_table(e);
}

bool is_guest_slot(unsigned level, size_t index) {
    return level < 4 || !paging::is_hypervisor_slot(index);
}

/// Whether to go on later: something is pending here, or another CPU waits for the paging lock,
/// which it would not get before a whole tree is through.
bool must_stop(const Domain& domain, Hold hold) {
    if (hold == Hold::kAlone) return false;
    const PagingLock& lock = domain.arch.paging_lock;
    const bool wanted = hold == Hold::kSharedInParts ? lock.is_wanted_alone() : lock.is_wanted();
    return wanted || preempt_requested();
}

// ---- whole tables ---------------------------------------------------------------------------

/// Drops what entries [0, count) hold, from the top. kERESTART: `count` says how many still do.
Result<> drop_entries(Domain& domain, const PageInfo& page, unsigned level, uint32_t& count,
                      Hold hold) {
    const Entry* table = entries_of(page);
    // Most of the work when a guest's process ends.
    for (; level == 1 && count; --count) put_leaf(read_entry(&table[count - 1]));
    while (count) {
        const Entry e = read_entry(&table[count - 1]);
        const bool holds = e.present() && is_guest_slot(level, count - 1);
        if (holds) TRY(put_table(domain, e.mfn(), hold));
        --count;
        if (!holds) continue;  // was no work that anybody would have to be let in for
        if (count && must_stop(domain, hold)) return Errno::kERESTART;
    }
    return {};
}

/// Checks entries from `count` on and takes their references. On an error entries [0, count) hold
/// theirs.
Result<> take_entries(Domain& domain, PageInfo& page, unsigned level, uint32_t& count, Hold hold) {
    Entry* table = entries_of(page);
    for (; count < kEntries; ++count) {
        if (!is_guest_slot(level, count)) continue;
        Entry e = read_entry(&table[count]);
        if (!e.present()) continue;
        const Result<> taken = get_entry(domain, level, e, hold);
        if (!taken.ok()) {
            if (taken.error() == Errno::kERESTART) return taken.error();
            guest_log(LogLevel::kDebug, "L{} table {:x}: entry {} = {:x} refused, error {}", level,
                      mfn_of(page), count, e.raw(), taken.error());
            if (taken.error() == kHalfUndone) ++count;
            return taken.error();
        }
        write_entry(&table[count], adjusted(level, e));
        if (level > 1 && count + 1 < kEntries && must_stop(domain, hold)) {
            ++count;
            return Errno::kERESTART;
        }
    }
    return {};
}

/// A table is refused: its first `count` entries are dropped again. `why`, or kHalfUndone.
Result<> undo(Domain& domain, PageInfo& page, unsigned level, uint32_t count, Errno why,
              Hold hold) {
    const Result<> dropped = drop_entries(domain, page, level, count, hold);
    if (dropped.ok()) return why == kHalfUndone ? Errno::kEINVAL : why;
    page.type.store(being_dropped(page.type.load(), count));
    return kHalfUndone;
}

/// Checks the contents of a frame that has just become `type` (count 1, not validated), or from
/// where that was left. kERESTART: the frame waits half checked.
Result<> validate(Domain& domain, PageInfo& page, PageType type, Hold hold) {
    if (type == PageType::kDescriptor) {
        TRY(check_descriptor_page(mfn_of(page)));
    } else {
        const unsigned level = level_of(type);
        uint32_t done = aux_of(page.type.load());
        const Result<> result = take_entries(domain, page, level, done, hold);
        if (!result.ok() && result.error() == Errno::kERESTART) {
            page.type.store(with_aux(page.type.load(), done) | PageInfo::kPartial);
            return result.error();
        }
        if (!result.ok()) return undo(domain, page, level, done, result.error(), hold);
        if (level == 4) {
            paging::fill_hypervisor_slots(entries_of(page), domain.arch.perdomain_l3);
            isolation::stamp(entries_of(page));
        }
    }
    page.type.store(with_aux(page.type.load() | PageInfo::kValidated, 0));
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

/// What came of asking for a type reference.
struct Asked {
    Result<> result;
    bool resumed = false;  ///< of a frame that waited half checked
    bool waits = false;    ///< and which does so now
    /// Whether there is a type reference, the caller's or one that waits.
    bool holds() const { return result.ok() || result.error() == kHalfUndone || waits; }
};

/// The frame is this CPU's, to be checked.
Asked ask_to_check(Domain& domain, PageInfo& page, PageType type, Hold hold, bool resumed) {
    const Result<> result = validate(domain, page, type, hold);
    const bool waits = !result.ok() && result.error() == Errno::kERESTART;
    const Asked asked{result, resumed, waits};
    if (!asked.holds()) become_untyped(page, type);
    return asked;
}

Asked ask_for_type(Domain& domain, PageInfo& page, PageType type, Hold hold) {
    uint64_t word = page.type.load();
    for (;;) {
        const uint64_t count = count_of(word);
        const bool same = (word & PageInfo::kTypeMask) == type_bits(type);
        if (count == PageInfo::kTypeCountMask) return {Errno::kEINVAL};
        if (count && !same) return {Errno::kEINVAL};
        if (waits_half_checked(word) && count) {
            if (page.type.compare_exchange_weak(word, word & ~PageInfo::kPartial))
                return ask_to_check(domain, page, type, hold, true);
        } else if (count) {
            // Being checked, or dropped, it is another CPU's or vCPU's, who must finish first.
            if (!(word & PageInfo::kValidated)) return {Errno::kERESTART};
            if (page.type.compare_exchange_weak(word, word + kCountOne)) return {};
        } else if (page.type.compare_exchange_weak(word, type_bits(type) | kCountOne)) {
            if (!same) flush_before_change(domain, word);
            return ask_to_check(domain, page, type, hold, false);
        }
    }
}

/// The last reference: entries [0, left) of `page`, whose type word was `word`, are to be dropped.
/// False: others have changed the word, which says now what it is.
bool begin_to_drop(Domain& domain, PageInfo& page, uint64_t& word, uint32_t left, Hold hold) {
    const uint64_t next = being_dropped(word, left);
    if (hold != Hold::kSharedInParts || type_of(word) != PageType::kL1)
        return page.type.compare_exchange_strong(word, next);
    // Who changes its entries relies on that it is one.
    domain.arch.paging_lock.stop_leaves();
    const bool done = page.type.compare_exchange_strong(word, next);
    domain.arch.paging_lock.let_leaves_go_on();
    return done;
}

/// kERESTART: interrupted, and the reference is still there.
Result<> put_table_type(Domain& domain, PageInfo& page, Hold hold) {
    uint64_t word = page.type.load();
    PageType type;
    uint32_t left = 0;
    for (;;) {
        if (count_of(word) > 1) {
            if (page.type.compare_exchange_weak(word, word - kCountOne)) return {};
            continue;
        }
        type = type_of(word);
        if (!is_table(type)) break;
        left = word & PageInfo::kPartial ? aux_of(word) : uint32_t{kEntries};
        if (begin_to_drop(domain, page, word, left, hold)) break;
    }
    const Result<> result = drop_entries(domain, page, level_of(type), left, hold);
    if (!result.ok()) {
        page.type.store(with_aux(page.type.load(), left));
        return result;
    }
    become_untyped(page, type);
    return {};
}

}  // namespace

Result<> get_table_type(Domain& domain, PageInfo& page, PageType type) {
    return ask_for_type(domain, page, type, Hold::kAlone).result;
}

Result<> get_table(Domain& domain, Mfn mfn, PageType type, Hold hold) {
    PageRef ref = TRY(PageRef::take(mfn, domain.id));
    const Asked asked = ask_for_type(domain, *ref.get(), type, hold);
    // The type reference, also one that waits, brings a general one along: ours, or that which it
    // has had since it was interrupted.
    if (!asked.resumed && asked.holds()) (void)ref.release();
    if (asked.resumed && !asked.holds()) ref->put();
    return asked.result;
}

Result<> put_table(Domain& domain, Mfn mfn, Hold hold) {
    PageInfo& page = page_of(mfn);
    TRY(put_table_type(domain, page, hold));
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
        TRY(get_table_or_park(table_owner, wanted.mfn(), table_below(level), Hold::kAloneInParts));
    // Under the paging lock nobody but the processor writes here, and it only sets A.
    while (!exchange_entry(slot, old, wanted, preserve_ad && wanted.present())) {
    }
    if (same || !old.present()) return {};
    drop_or_park(table_owner, old.mfn(), Hold::kAloneInParts);
    return {};
}

}  // namespace hv::pv
