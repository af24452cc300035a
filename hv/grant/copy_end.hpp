// One end of a copy: a frame that is pinned for reading or writing while elements of the batch
// use it.
#pragma once

#include "hv/domain/domain.hpp"
#include "hv/grant/pin.hpp"

namespace hv::grant {

template <Access kAccess>
class CopyEnd {
  public:
    explicit CopyEnd(Domain& caller) : caller_(caller) { pin_.page = nullptr; }
    CopyEnd(const CopyEnd&) = delete;
    CopyEnd& operator=(const CopyEnd&) = delete;
    ~CopyEnd() { close(); }

    /// Opens what an element names, a grant reference or a frame of the caller's own, unless that
    /// is open already. GNTST_*: see pin(); _permission_denied: another's frame without a grant.
    [[gnu::always_inline]] Status open(const gnttab_copy::gnttab_copy_ptr& name, bool by_ref) {
        const uint64_t frame_or_ref = by_ref ? name.u.ref : name.u.gmfn;
        const uint32_t kind = name.domid | (by_ref ? kByRef : 0);
        if (pin_.page) {
            if (kind_ == kind && name_ == frame_or_ref) return GNTST_okay;
            close();
        }
        kind_ = kind;
        name_ = frame_or_ref;
        // Others' frames only by grants, and one's own only as DOMID_SELF.
        if (!by_ref) return name.domid == DOMID_SELF ? open_own() : Status{GNTST_permission_denied};
        if (name.domid == DOMID_SELF) return open_grant(caller_);
        return open_grant_of(name.domid);
    }

    [[gnu::always_inline]] void close() {
        if (!pin_.page) return;
        if (kind_ & kByRef) close_grant();
        put_page(*pin_.page, kAccess);
        pin_.page = nullptr;
    }

    /// Whether bytes [offset, offset + length) of the frame are within what is granted.
    bool covers(uint32_t offset, uint32_t length) const {
        return offset >= pin_.start && offset + length <= pin_.end;
    }
    char* at(uint32_t offset) const {
        return arch::mfn_to_virt<char>(pin_.frame) + base::index_nospec(offset, kPageSize);
    }

  private:
    static constexpr uint32_t kByRef = 1 << 16;  ///< above a domain id

    [[gnu::always_inline]] Status open_own() {
        auto mfn = arch::guest_frame_to_mfn(caller_, Gfn{name_});
        if (!mfn) return GNTST_bad_page;
        PageInfo* page = page_info(*mfn);
        const Status status = take_page(page, caller_.id, kAccess);
        if (status == GNTST_okay) pin_ = {page, *mfn, 0, kPageSize};
        return status;
    }

    [[gnu::always_inline]] Status open_grant(Domain& granter) {
        GrantTable& table = *granter.grants;
        const auto ref = static_cast<uint32_t>(name_);
        table_ = &table;
        via_table_ = nullptr;
        {
            LockGuard guard(table.lock);
            if (table.version == 1 || !is_transitive(table, ref)) [[likely]]
                return pin(table, ref, caller_.id, kAccess, Purpose::kCopy, pin_);
        }
        return open_transitive();
    }

    [[gnu::always_inline]] void close_grant() {
        {
            LockGuard guard(table_->lock);
            unpin(*table_, static_cast<uint32_t>(name_), kAccess);
        }
        if (via_table_) [[unlikely]]
            close_transitive();
    }

    // copy_end.cpp
    Status open_grant_of(domid_t domid);
    Status open_transitive();
    Status follow(const Via& via);
    void close_transitive();

    // Others' domains and tables are not held: RCU keeps what is found until the call has ended.
    Domain& caller_;
    Pin pin_;
    uint32_t kind_;          ///< what is open: domain id as named, and kByRef
    uint64_t name_;          ///< its frame or reference
    GrantTable* table_;      ///< kByRef: the granter's
    GrantTable* via_table_;  ///< a transitive grant: where the frame comes from
    uint32_t via_ref_;
    Domain* granter_ = nullptr;  ///< the granter of the last grant, if that is not the caller
};

}  // namespace hv::grant
