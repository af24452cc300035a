// GNTTABOP_copy: bytes from one frame to another, each named by a grant or as a frame of the
// caller's own.
//
// Neighbouring elements mostly use the same frames (a packet in pieces), so both ends stay open
// from one element to the next until something else is named.
#include <cstring>

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/ops.hpp"
#include "hv/policy/policy.hpp"

namespace hv::grant {
namespace {

class CopyEnd {
  public:
    explicit CopyEnd(Access access) : access_(access) {}
    CopyEnd(const CopyEnd&) = delete;
    CopyEnd& operator=(const CopyEnd&) = delete;
    ~CopyEnd() { close(); }

    /// Opens what an element names, unless that is open already.
    Status open(Domain& caller, const gnttab_copy::gnttab_copy_ptr& name, bool by_ref) {
        uint64_t frame_or_ref = by_ref ? name.u.ref : name.u.gmfn;
        if (pin_.page && domid_ == name.domid && by_ref_ == by_ref && name_ == frame_or_ref)
            return GNTST_okay;
        close();
        if (Status status = find_domain(caller, name.domid, by_ref); status != GNTST_okay)
            return status;
        by_ref_ = by_ref;
        name_ = frame_or_ref;
        return by_ref ? open_grant(caller) : open_own(caller);
    }

    void close() {
        if (!pin_.page) return;
        if (by_ref_) {
            LockGuard guard(domain_->grants->lock);
            unpin(*domain_->grants, static_cast<uint32_t>(name_), access_);
        }
        put_page(*pin_.page, access_);
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
    Status find_domain(Domain& caller, domid_t domid, bool by_ref) {
        if (domain_ && domid_ == domid) return by_ref || domid == DOMID_SELF
                                                   ? Status{GNTST_okay}
                                                   : Status{GNTST_permission_denied};
        domain_ = nullptr;
        if (domid == DOMID_SELF) {
            domain_ = &caller;
        } else {
            if (!by_ref) return GNTST_permission_denied;  // others' frames only by grants
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

    Status open_grant(Domain& caller) {
        // A reference has 32 bits; the upper half of the union is not part of it.
        LockGuard guard(domain_->grants->lock);
        return pin(*domain_->grants, static_cast<uint32_t>(name_), caller.id, access_,
                   Purpose::kCopy, pin_);
    }

    Status open_own(Domain& caller) {
        auto mfn = arch::guest_frame_to_mfn(caller, Gfn{name_});
        if (!mfn) return GNTST_bad_page;
        auto page = PageRef::take(*mfn, caller.id);
        if (!page) return GNTST_bad_page;
        if (access_ == Access::kWrite &&
            ((*page)->has(PageInfo::kReadOnly) || !(*page)->get_writable_type()))
            return GNTST_general_error;
        pin_ = {page->release(), *mfn, 0, kPageSize};
        return GNTST_okay;
    }

    const Access access_;
    Domain* domain_ = nullptr;
    DomainRef held_;  ///< keeps `domain_` if that is not the caller
    domid_t domid_ = 0;
    bool by_ref_ = false;
    uint64_t name_ = 0;
    Pin pin_;
};

Status copy_one(Domain& caller, const gnttab_copy& op, CopyEnd& from, CopyEnd& to) {
    Status status = from.open(caller, op.source, op.flags & GNTCOPY_source_gref);
    if (status != GNTST_okay) return status;
    status = to.open(caller, op.dest, op.flags & GNTCOPY_dest_gref);
    if (status != GNTST_okay) return status;

    uint32_t length = op.len;
    if (op.source.offset + length > kPageSize || op.dest.offset + length > kPageSize)
        return GNTST_bad_copy_arg;
    if (!from.covers(op.source.offset, length) || !to.covers(op.dest.offset, length))
        return GNTST_general_error;
    // Source and destination may be one frame, and overlap.
    if (length) memmove(to.at(op.dest.offset), from.at(op.source.offset), length);
    return GNTST_okay;
}

}  // namespace

Outcome copy_batch(const Batch& batch) {
    GuestInOut<gnttab_copy> ops(batch.address.raw());
    Domain& caller = *arch::current().domain;
    CopyEnd from(Access::kRead);
    CopyEnd to(Access::kWrite);
    for (uint32_t i = 0; i < batch.count; ++i) {
        if (i % kElementsPerLook == kElementsPerLook - 1 && preempt_requested())
            return batch.continue_after(i, sizeof(gnttab_copy));
        auto op = ops.load(i);
        if (!op) return Errno::kEFAULT;
        op->status = copy_one(caller, *op, from, to);
        if (op->status != GNTST_okay) {
            from.close();
            to.close();
        }
        if (!ops.store_field(*op, &gnttab_copy::status, i)) return Errno::kEFAULT;
    }
    return Outcome{};
}

}  // namespace hv::grant
