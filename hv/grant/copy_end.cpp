// The longer ways to open an end: another domain's grant, and one that leads on to a third's.
#include "hv/grant/copy_end.hpp"

#include "hv/domain/table.hpp"
#include "hv/policy/policy.hpp"

namespace hv::grant {

/// Null: why_no_table() says the reason.
template <Access kAccess>
GrantTable* CopyEnd<kAccess>::table_of(const Domain& caller, domid_t granter) const {
    if (table_ && table_->domain.id == DomId{granter}) return table_;
    Domain* found = domain_table::peek(DomId{granter});
    const bool may = found && policy::check(policy::Op::kSendTo, caller, found);
    return may ? found->grants : nullptr;
}

template <Access kAccess>
Status CopyEnd<kAccess>::why_no_table(domid_t granter) {
    return domain_table::peek(DomId{granter}) ? GNTST_permission_denied : GNTST_bad_domain;
}

template <Access kAccess>
Status CopyEnd<kAccess>::open_transitive(DomId user, uint32_t ref) {
    GrantTable& table = *table_;
    Via via;
    Status status = pin_to_follow(table, ref, user, kAccess, via);
    if (status != GNTST_okay) return status;
    // One entry's lock at a time: both are pinned, so neither changes meanwhile.
    status = follow(via);
    if (status != GNTST_okay) unpin(table, ref, kAccess);
    return status;
}

/// Pins the grant that a transitive one names: one that its domain holds, not the caller.
template <Access kAccess>
Status CopyEnd<kAccess>::follow(const Via& via) {
    Domain* found = domain_table::peek(via.domain);
    if (!found) return GNTST_general_error;
    GrantTable& table = *found->grants;
    const Status status = pin(table, via.ref, table_->domain.id, kAccess, Purpose::kCopy, pin_);
    if (status == GNTST_okay) further_ = {&table, via.ref};
    // Only one step: a transitive entry there is none that permits access.
    return status == kTransitive ? Status{GNTST_general_error} : status;
}

template <Access kAccess>
void CopyEnd<kAccess>::close_further() {
    unpin(*further_.table, further_.ref, kAccess);
}

template class CopyEnd<Access::kRead>;
template class CopyEnd<Access::kWrite>;

}  // namespace hv::grant
