// The longer ways to open an end: another domain's grant, and one that leads on to a third's.
#include "hv/grant/copy_end.hpp"

#include "hv/domain/table.hpp"
#include "hv/policy/policy.hpp"

namespace hv::grant {

template <Access kAccess>
Status CopyEnd<kAccess>::open_grant_of(domid_t domid) {
    if (!granter_ || granter_->id != DomId{domid}) {
        Domain* found = domain_table::peek(DomId{domid});
        if (!found) return GNTST_bad_domain;
        if (!policy::check(policy::Op::kSendTo, caller_, found)) return GNTST_permission_denied;
        granter_ = found;
    }
    return open_grant(*granter_);
}

template <Access kAccess>
Status CopyEnd<kAccess>::open_transitive() {
    GrantTable& table = *table_;
    const auto ref = static_cast<uint32_t>(name_);
    Via via;
    {
        LockGuard guard(table.lock);
        const Status status = pin_to_follow(table, ref, caller_.id, kAccess, via);
        if (status != GNTST_okay) return status;
    }
    // One table's lock at a time: both entries are pinned, so neither changes meanwhile.
    const Status status = follow(via);
    if (status == GNTST_okay) return status;
    LockGuard guard(table.lock);
    unpin(table, ref, kAccess);
    return status;
}

/// Pins the grant that a transitive one names: one that its domain holds, not the caller.
template <Access kAccess>
Status CopyEnd<kAccess>::follow(const Via& via) {
    Domain* found = domain_table::peek(via.domain);
    if (!found) return GNTST_general_error;
    GrantTable& table = *found->grants;
    LockGuard guard(table.lock);
    // Only one step: a transitive entry there is none that permits access.
    const Status status = pin_any(table, via.ref, table_->domain.id, kAccess, Purpose::kCopy, pin_);
    if (status != GNTST_okay) return status;
    via_table_ = &table;
    via_ref_ = via.ref;
    return GNTST_okay;
}

template <Access kAccess>
void CopyEnd<kAccess>::close_transitive() {
    LockGuard guard(via_table_->lock);
    unpin(*via_table_, via_ref_, kAccess);
}

template class CopyEnd<Access::kRead>;
template class CopyEnd<Access::kWrite>;

}  // namespace hv::grant
