// The longer ways to open an end: another domain's grant, and one that leads on to a third's.
#include "hv/grant/copy_end.hpp"

#include "hv/policy/policy.hpp"

namespace hv::grant {

template <Access kAccess>
Status CopyEnd<kAccess>::open_grant_of(domid_t domid) {
    if (!granter_ || granter_->id != DomId{domid}) {
        auto found = Domain::find(DomId{domid});
        if (!found) return GNTST_bad_domain;
        if (!policy::check(policy::Op::kSendTo, caller_, found->get()))
            return GNTST_permission_denied;
        granter_ = std::move(*found);
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
    via_domain_.reset();
    LockGuard guard(table.lock);
    unpin(table, ref, kAccess);
    return status;
}

/// Pins the grant that a transitive one names: one that its domain holds, not the caller.
template <Access kAccess>
Status CopyEnd<kAccess>::follow(const Via& via) {
    auto found = Domain::find(via.domain);
    if (!found) return GNTST_general_error;
    via_domain_ = std::move(*found);
    via_ref_ = via.ref;
    GrantTable& table = *via_domain_->grants;
    LockGuard guard(table.lock);
    // Only one step: a transitive entry there is none that permits access.
    return pin(table, via.ref, table_->domain.id, kAccess, Purpose::kCopy, pin_);
}

template <Access kAccess>
void CopyEnd<kAccess>::close_transitive() {
    {
        LockGuard guard(via_domain_->grants->lock);
        unpin(*via_domain_->grants, via_ref_, kAccess);
    }
    via_domain_.reset();
}

template class CopyEnd<Access::kRead>;
template class CopyEnd<Access::kWrite>;

}  // namespace hv::grant
