// One end of a copy: a frame that is pinned for reading or writing while elements of the batch
// use it.
#pragma once

#include "hv/domain/domain.hpp"
#include "hv/grant/table.hpp"

namespace hv::grant {

class CopyEnd {
  public:
    explicit CopyEnd(Access access) : access_(access) {}
    CopyEnd(const CopyEnd&) = delete;
    CopyEnd& operator=(const CopyEnd&) = delete;
    ~CopyEnd() { close(); }

    /// Opens what an element names, a grant reference or a frame of the caller's own, unless that
    /// is open already. GNTST_*: see pin(); _permission_denied: another's frame without a grant.
    Status open(Domain& caller, const gnttab_copy::gnttab_copy_ptr& name, bool by_ref) {
        const uint64_t frame_or_ref = by_ref ? name.u.ref : name.u.gmfn;
        if (pin_.page && domid_ == name.domid && by_ref_ == by_ref && name_ == frame_or_ref)
            return GNTST_okay;
        return open_anew(caller, name.domid, by_ref, frame_or_ref);
    }
    void close();

    /// Whether bytes [offset, offset + length) of the frame are within what is granted.
    bool covers(uint32_t offset, uint32_t length) const {
        return offset >= pin_.start && offset + length <= uint32_t{pin_.start} + pin_.length;
    }
    char* at(uint32_t offset) const {
        return arch::mfn_to_virt<char>(pin_.frame) + base::index_nospec(offset, kPageSize);
    }

  private:
    Status open_anew(Domain& caller, domid_t domid, bool by_ref, uint64_t frame_or_ref);
    Status find_domain(Domain& caller, domid_t domid, bool by_ref);
    Status open_own(Domain& caller, Gfn frame);
    Status open_grant(Domain& caller, uint32_t ref);
    Status follow(const Via& via);

    const Access access_;
    domid_t domid_ = 0;
    bool by_ref_ = false;
    uint64_t name_ = 0;         ///< the frame or reference
    Domain* domain_ = nullptr;  ///< whose it is
    DomainRef held_;            ///< keeps `domain_` if that is not the caller
    Pin pin_;

    DomainRef via_domain_;      ///< a transitive grant: where the frame comes from
    uint32_t via_ref_ = 0;
};

}  // namespace hv::grant
