#include "hv/x86/pv/pin.hpp"

#include "arch/cpu.hpp"
#include "hv/x86/pv/page_type.hpp"
#include "hv/x86/pv/type_word.hpp"

namespace hv::pv {
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
    TablesGuard guard(domain.arch.paging_lock);
    TRY(get_table_or_park(domain, mfn, type, Hold::kSharedInParts));
    return mark_pinned(mfn);
}

Result<> unpin_table(Domain& domain, Mfn mfn) {
    TablesGuard guard(domain.arch.paging_lock);
    const PageRef page = TRY(PageRef::take(mfn, domain.id));
    if (!(page->type.fetch_and(~PageInfo::kPinned) & PageInfo::kPinned)) return Errno::kEINVAL;
    drop_or_park(domain, mfn, Hold::kSharedInParts);
    return {};
}

Result<> get_table_or_park(Domain& domain, Mfn mfn, PageType type, Hold hold) {
    const Result<> result = get_table(domain, mfn, type, hold);
    if (result.ok() || result.error() != kHalfUndone) return result;
    drop_or_park(domain, mfn, hold);
    return Errno::kEINVAL;
}

void drop_or_park(Domain& domain, Mfn mfn, Hold hold) {
    arch::PvVcpu& pv = arch::current().arch.pv;
    if (pv.parked_table != kInvalidMfn) {
        // Two at once: this one's reference becomes that of a pin, or there is one beside it.
        (void)mark_pinned(mfn);
        return;
    }
    if (put_table(domain, mfn, hold).ok()) return;
    pv.parked_table = mfn;
    pv.parked_domain = domain.id;
}

Result<> finish_parked(Vcpu& vcpu) {
    Mfn& parked = vcpu.arch.pv.parked_table;
    if (parked == kInvalidMfn) return {};
    // A control domain may have unpinned another domain's table: that domain cannot be gone, since
    // the table still holds its frames.
    DomainRef owner = TRY(Domain::find(vcpu.arch.pv.parked_domain));
    TablesGuard guard(owner->arch.paging_lock);
    TRY(put_table(*owner, parked, Hold::kSharedInParts));
    parked = kInvalidMfn;
    return {};
}

Result<> force_release(Domain& domain, PageInfo& page) {
    if (page.type.load() & PageInfo::kPinned) {
        page.type.fetch_and(~PageInfo::kPinned);
        const Result<> result = put_table(domain, mfn_of(page), Hold::kAloneInParts);
        if (!result.ok()) {
            page.type.fetch_or(PageInfo::kPinned);  // so that the next round finds it again
            return result.error();
        }
    }
    // Interrupted while it was checked: nobody holds that reference. (A table dropped in part
    // belongs to the table, pin or vCPU that drops it.)
    if (waits_half_checked(page.type.load())) {
        const Result<> result = put_table(domain, mfn_of(page), Hold::kAloneInParts);
        if (!result.ok()) {
            // Half dropped now, and still nobody's: the next round is to find it again.
            page.type.fetch_and(~PageInfo::kDropping);
            return result.error();
        }
    }
    return {};
}

}  // namespace hv::pv
