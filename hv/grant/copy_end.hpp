// One end of a copy: a frame that is pinned for reading or writing while elements of the batch
// use it.
#pragma once

#include "hv/domain/domain.hpp"
#include "hv/grant/table.hpp"

namespace hv::grant {

template <Access kAccess>
class CopyEnd {
  public:
    explicit CopyEnd(Domain& caller) : caller_(caller) {}
    CopyEnd(const CopyEnd&) = delete;
    CopyEnd& operator=(const CopyEnd&) = delete;
    ~CopyEnd() { close(); }

    /// Opens what an element names, a grant reference or a frame of the caller's own, unless that
    /// is open already. GNTST_*: see pin(); _permission_denied: another's frame without a grant.
    [[gnu::always_inline]] Status open(const gnttab_copy::gnttab_copy_ptr& name, bool by_ref) {
        const uint64_t frame_or_ref = by_ref ? name.u.ref : name.u.gmfn;
        if (pin_.page && domid_ == name.domid && by_ref_ == by_ref && name_ == frame_or_ref)
            return GNTST_okay;
        close();
        if (!domain_ || domid_ != name.domid) {
            const Status status = find_domain(name.domid);
            if (status != GNTST_okay) return status;
        }
        by_ref_ = by_ref;
        name_ = frame_or_ref;
        if (by_ref) return open_grant();
        // Others' frames only by grants, and one's own only as DOMID_SELF.
        return name.domid == DOMID_SELF ? open_own() : Status{GNTST_permission_denied};
    }

    void close() {
        if (!pin_.page) return;
        if (by_ref_) close_grant();
        put_page(*pin_.page, kAccess);
        pin_.page = nullptr;
    }

    /// Whether bytes [offset, offset + length) of the frame are within what is granted.
    bool covers(uint32_t offset, uint32_t length) const {
        return offset >= pin_.start && offset + length <= uint32_t{pin_.start} + pin_.length;
    }
    char* at(uint32_t offset) const {
        return arch::mfn_to_virt<char>(pin_.frame) + base::index_nospec(offset, kPageSize);
    }

  private:
    Status find_domain(domid_t domid) {
        if (domid != DOMID_SELF) return find_other(domid);
        domain_ = &caller_;
        domid_ = domid;
        return GNTST_okay;
    }

    [[gnu::always_inline]] Status open_own() {
        auto mfn = arch::guest_frame_to_mfn(caller_, Gfn{name_});
        if (!mfn) return GNTST_bad_page;
        PageInfo* page = page_info(*mfn);
        const Status status = take_page(page, caller_.id, kAccess);
        if (status == GNTST_okay) pin_ = {page, *mfn, 0, kPageSize};
        return status;
    }

    [[gnu::always_inline]] Status open_grant() {
        GrantTable& table = *domain_->grants;
        const auto ref = static_cast<uint32_t>(name_);
        {
            LockGuard guard(table.lock);
            if (table.version == 1 || !is_transitive(table, ref)) [[likely]]
                return pin(table, ref, caller_.id, kAccess, Purpose::kCopy, pin_);
        }
        return open_transitive();
    }

    void close_grant() {
        GrantTable& table = *domain_->grants;
        {
            LockGuard guard(table.lock);
            unpin(table, static_cast<uint32_t>(name_), kAccess);
        }
        if (via_domain_) [[unlikely]]
            close_transitive();
    }

    // copy_end.cpp
    Status find_other(domid_t domid);
    Status open_transitive();
    Status follow(const Via& via);
    void close_transitive();

    Domain& caller_;
    Pin pin_;
    Domain* domain_ = nullptr;  ///< whose frame or grant it is, `domid_` as named
    DomainRef held_;            ///< keeps `domain_` if that is not the caller
    domid_t domid_;
    bool by_ref_;
    uint64_t name_;  ///< the frame or reference

    DomainRef via_domain_;  ///< a transitive grant: where the frame comes from
    uint32_t via_ref_;
};

}  // namespace hv::grant
