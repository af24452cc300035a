// When free memory runs low the tools are told (VIRQ_ENOMEM, for `xen-lowmemd` and its like).
#pragma once

#include <cstdint>

namespace hv::memory {

/// The rule by which they are told: once for each power of two of frames that free memory falls to,
/// from a threshold down; for the same one again only after there was room for twice as much above
/// it, so that a domain that gives and takes a page does not tell them each time. Same as Xen's.
class LowMemoryRule {
  public:
    /// `frames`: the highest threshold, rounded down to a power of two; 0: never.
    void set(uint64_t frames);
    uint64_t threshold() const { return next_; }

    /// At each allocation, with what is left afterwards: whether the tools are to be told.
    bool tell(uint64_t left) {
        if (left > next_ && left < back_) [[likely]]
            return false;
        return cross(left);
    }

  private:
    bool cross(uint64_t left);

    uint64_t highest_ = 0;
    uint64_t next_ = 0;           ///< told when as few are left
    uint64_t back_ = UINT64_MAX;  ///< with as many, next_ goes up again
};

}  // namespace hv::memory
