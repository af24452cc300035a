// One end of a copy: a frame that is pinned for reading or writing while elements of the batch
// use it.
#pragma once

#include "hv/domain/domain.hpp"
#include "hv/grant/pin.hpp"

namespace hv::grant {

template <Access kAccess>
class CopyEnd {
  public:
    CopyEnd() = default;
    CopyEnd(const CopyEnd&) = delete;
    CopyEnd& operator=(const CopyEnd&) = delete;
    ~CopyEnd() { close(); }

    /// Opens what an element of `caller`'s names, a grant reference or a frame of its own, unless
    /// that is open already. GNTST_*: see pin(); _permission_denied: another's frame without a
    /// grant, or the policy forbids it; _bad_domain: there is no such granter.
    [[gnu::always_inline]] Status open(Domain& caller, const gnttab_copy::gnttab_copy_ptr& name,
                                       bool by_ref) {
        const uint64_t frame_or_ref = by_ref ? name.u.ref : name.u.gmfn;
        const uint32_t kind = name.domid | (by_ref ? kByRef : 0);
        if (kind_ != kClosed) {
            if (kind_ == kind && name_ == frame_or_ref) return GNTST_okay;
            close();
        }
        Status status = GNTST_permission_denied;
        if (by_ref)
            status = open_grant(caller, name.domid, name.u.ref);
        else if (name.domid == DOMID_SELF)  // others' frames only by grants
            status = open_own(caller, Gfn{frame_or_ref});
        if (status != GNTST_okay) [[unlikely]]
            return status;
        kind_ = kind;
        name_ = frame_or_ref;
        return GNTST_okay;
    }

    [[gnu::always_inline]] void close() {
        if (kind_ == kClosed) return;
        if (kind_ & kByRef) close_grant();
        put_page(*pin_.page, kAccess);
        kind_ = kClosed;
    }

    /// Whether bytes [offset, offset + length) of the frame are within what is granted.
    [[gnu::always_inline]] bool covers(uint32_t offset, uint32_t length) const {
        return offset >= pin_.start && offset + length <= pin_.end;
    }
    /// Byte `offset`, which is covered; masked for speculation.
    [[gnu::always_inline]] char* at(uint32_t offset) const {
        return arch::mfn_to_virt<char>(mfn_of(*pin_.page)) + (offset & (kPageSize - 1));
    }

  private:
    // Above a domain id:
    static constexpr uint32_t kByRef = 1 << 16;
    static constexpr uint32_t kClosed = 1 << 17;

    [[gnu::always_inline]] Status open_own(Domain& caller, Gfn frame) {
        auto mfn = arch::guest_frame_to_mfn(caller, frame);
        if (!mfn) return GNTST_bad_page;
        PageInfo* page = page_info(*mfn);
        const Status status = take_page(page, caller.id, kAccess);
        if (status == GNTST_okay) pin_ = {page, 0, kPageSize};
        return status;
    }

    [[gnu::always_inline]] Status open_grant(Domain& caller, domid_t granter, uint32_t ref) {
        GrantTable* table = granter == DOMID_SELF ? caller.grants : table_of(caller, granter);
        if (!table) [[unlikely]]
            return why_no_table(granter);
        table_ = table;
        further_.table = nullptr;
        const Status status = pin(*table, ref, caller.id, kAccess, Purpose::kCopy, pin_);
        return status == kTransitive ? open_transitive(caller.id, ref) : status;
    }

    [[gnu::always_inline]] void close_grant() {
        unpin(*table_, static_cast<uint32_t>(name_), kAccess);
        if (further_.table) [[unlikely]]
            close_further();
    }

    // copy_end.cpp
    GrantTable* table_of(const Domain& caller, domid_t granter) const;
    static Status why_no_table(domid_t granter);
    Status open_transitive(DomId user, uint32_t ref);
    Status follow(const Via& via);
    void close_further();

    // Others' tables are not held: RCU keeps what is found until the call has ended.
    uint32_t kind_ = kClosed;      ///< what is open: domain id as named, and kByRef
    uint64_t name_;                ///< its frame or reference
    Pin pin_;                      ///< its frame
    GrantTable* table_ = nullptr;  ///< the last granter's
    struct {
        GrantTable*
            table;  ///< null unless table_'s grant is transitive: where the frame comes from
        uint32_t ref;
    } further_;
};

}  // namespace hv::grant
