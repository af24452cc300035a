// Domain 0's kernel as an ELF64 file: what to load where, and its Xen notes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/x86/boot/reader.hpp"
#include "hv/x86/boot/xen_notes.hpp"

namespace hv::boot {

/// A PT_LOAD: `bytes` of the file, then zeros up to `memory_size`. Virtual addresses in the file
/// are not used: Linux has a segment (per-CPU data) that says 0.
struct KernelSegment {
    uint64_t physical;  ///< pseudo-physical address, the notes' paddr_offset taken off
    Bytes bytes;
    uint64_t memory_size;
};

class KernelImage {
  public:
    static constexpr size_t kMaxSegments = 16;

    /// Reads headers and notes of `file` and checks that it is a kernel that can run as a 64-bit
    /// PV Domain 0. On failure the log has a line with cause and remedy: kENOEXEC, kEINVAL,
    /// kENODATA (truncated), kEOPNOTSUPP. The image refers to `file`, which must outlive it.
    static Result<KernelImage> parse(Bytes file);

    std::span<const KernelSegment> segments() const { return {segments_, count_}; }
    const XenNotes& notes() const { return notes_; }
    uint64_t physical_end() const { return physical_end_; }
    uint64_t virtual_base() const { return *notes_.virt_base; }
    uint64_t virtual_end() const { return virtual_base() + physical_end_; }

  private:
    Result<> read_segments(Bytes file);
    Result<> add_segment(Bytes bytes, const struct ProgramHeader& header);
    Result<> check() const;
    Result<> check_addresses() const;

    KernelSegment segments_[kMaxSegments];
    size_t count_ = 0;
    XenNotes notes_;
    uint64_t physical_end_ = 0;  // one above the highest byte of a segment
};

}  // namespace hv::boot
