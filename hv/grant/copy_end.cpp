#include "hv/grant/copy_end.hpp"

#include "hv/policy/policy.hpp"

namespace hv::grant {

Status CopyEnd::open_anew(Domain& caller, domid_t domid, bool by_ref, uint64_t frame_or_ref) {
    close();
    const Status status = find_domain(caller, domid, by_ref);
    if (status != GNTST_okay) return status;
    by_ref_ = by_ref;
    name_ = frame_or_ref;
    return by_ref ? open_grant(caller, static_cast<uint32_t>(frame_or_ref))
                  : open_own(caller, Gfn{frame_or_ref});
}

void CopyEnd::close() {
    if (!pin_.page) return;
    if (by_ref_) {
        LockGuard guard(domain_->grants->lock);
        unpin(*domain_->grants, static_cast<uint32_t>(name_), access_);
    }
    if (via_domain_) {
        {
            LockGuard guard(via_domain_->grants->lock);
            unpin(*via_domain_->grants, via_ref_, access_);
        }
        via_domain_.reset();
    }
    put_page(*pin_.page, access_);
    pin_.page = nullptr;
}

Status CopyEnd::find_domain(Domain& caller, domid_t domid, bool by_ref) {
    // Others' frames only by grants, and one's own only as DOMID_SELF.
    if (domid != DOMID_SELF && !by_ref) return GNTST_permission_denied;
    if (domain_ && domid_ == domid) return GNTST_okay;
    domain_ = nullptr;
    if (domid == DOMID_SELF) {
        domain_ = &caller;
    } else {
        auto found = Domain::find(DomId{domid});
        if (!found) return GNTST_bad_domain;
        if (!policy::check(policy::Op::kSendTo, caller, found->get()))
            return GNTST_permission_denied;
        held_ = std::move(*found);
        domain_ = held_.get();
    }
    domid_ = domid;
    return GNTST_okay;
}

Status CopyEnd::open_own(Domain& caller, Gfn frame) {
    auto mfn = arch::guest_frame_to_mfn(caller, frame);
    if (!mfn) return GNTST_bad_page;
    auto page = PageRef::take(*mfn, caller.id);
    if (!page) return GNTST_bad_page;
    if (access_ == Access::kWrite &&
        ((*page)->has(PageInfo::kReadOnly) || !(*page)->get_writable_type()))
        return GNTST_general_error;
    pin_ = {page->release(), *mfn, 0, kPageSize};
    return GNTST_okay;
}

Status CopyEnd::open_grant(Domain& caller, uint32_t ref) {
    GrantTable& table = *domain_->grants;
    Via via;
    {
        LockGuard guard(table.lock);
        if (!is_transitive(table, ref)) [[likely]]
            return pin(table, ref, caller.id, access_, Purpose::kCopy, pin_);
        const Status status = pin_to_follow(table, ref, caller.id, access_, via);
        if (status != GNTST_okay) return status;
    }
    // One table's lock at a time: both entries are pinned, so neither changes meanwhile.
    const Status status = follow(via);
    if (status == GNTST_okay) return status;
    via_domain_.reset();
    LockGuard guard(table.lock);
    unpin(table, ref, access_);
    return status;
}

/// Pins the grant that a transitive one names: one that its domain holds, not the caller.
Status CopyEnd::follow(const Via& via) {
    auto found = Domain::find(via.domain);
    if (!found) return GNTST_general_error;
    via_domain_ = std::move(*found);
    via_ref_ = via.ref;
    GrantTable& table = *via_domain_->grants;
    LockGuard guard(table.lock);
    // Only one step: a transitive entry there is none that permits access.
    return pin(table, via.ref, domain_->id, access_, Purpose::kCopy, pin_);
}

}  // namespace hv::grant
