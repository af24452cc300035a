// Domain 0's memory: which frame stands behind each of its pfns.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/limits.hpp"
#include "hv/memory/heap.hpp"
#include "hv/x86/boot/reader.hpp"

namespace hv::pv {

/// Frames of the domain in order of their pfn, as runs of consecutive frames.
class Dom0Frames {
  public:
    struct Run {
        Pfn pfn;
        Mfn mfn;
        uint64_t count;
    };

    static Result<Dom0Frames> create(Domain& domain);

    /// Adds frames at the next pfns until there are `pages` in all, in the largest blocks to be
    /// had, and sets the M2P for them. kENOMEM: there are fewer (pages() says how many).
    Result<> grow_to(uint64_t pages);

    uint64_t pages() const { return pages_; }
    std::span<const Run> runs() const { return {runs_.data(), count_}; }
    /// The frame of `pfn`, which must be below pages().
    Mfn mfn(Pfn pfn) const;

    /// Writes to pseudo-physical memory, which must be there.
    void copy_in(uint64_t address, boot::Bytes bytes);
    void zero(uint64_t address, uint64_t bytes);
    /// Writes the list of all frames in order of their pfn (the p2m list) into its own memory, from
    /// `first` on; what is left of `list_pages` names no frame.
    void write_list(Pfn first, uint64_t list_pages);

  private:
    Dom0Frames(Domain& domain, heap::OwnedArray<Run> runs)
        : domain_(&domain), runs_(static_cast<heap::OwnedArray<Run>&&>(runs)) {}
    Result<> append(Mfn first, uint64_t count);
    /// The run that holds `pfn`.
    const Run& run_of(Pfn pfn) const;
    /// Calls `fn(pointer, bytes)` for each contiguous piece of pseudo-physical memory.
    template <class Fn>
    void for_each_piece(uint64_t address, uint64_t bytes, Fn fn);

    Domain* domain_;
    heap::OwnedArray<Run> runs_;
    size_t count_ = 0;
    uint64_t pages_ = 0;
};

}  // namespace hv::pv
