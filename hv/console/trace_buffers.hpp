// The trace buffers' memory, in the layout of <xen/trace.h>: for each CPU some pages, which a tool
// maps side by side (struct t_buf, then records), and pages that list them (struct t_info).
// Made once, never given back: a tool may have them mapped.
#pragma once

#include <cstdint>

#include <xen/xen.h>

#include <xen/trace.h>

#include "arch/memory.hpp"
#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::trace {

class Buffer {
  public:
    Buffer() = default;
    Buffer(const uint32_t* frames, uint32_t pages) : frames_(frames), pages_(pages) {}

    t_buf& header() const { return *arch::mfn_to_virt<t_buf>(Mfn{frames_[0]}); }
    uint32_t data_bytes() const {
        return pages_ * static_cast<uint32_t>(kPageSize) - static_cast<uint32_t>(sizeof(t_buf));
    }
    /// A word of the records; `offset` is a multiple of 4 below data_bytes().
    uint32_t& word_at(uint32_t offset) const {
        const uint32_t at = offset + static_cast<uint32_t>(sizeof(t_buf));
        return arch::mfn_to_virt<uint32_t>(Mfn{frames_[at >> kPageShift]})[at % kPageSize / 4];
    }

  private:
    const uint32_t* frames_ = nullptr;  ///< in t_info, which tools see read-only
    uint32_t pages_ = 0;
};

/// kEBUSY: they are there, in this size; kEINVAL: in another one, or `pages` is 0; kENOMEM, and
/// then it may be tried again. More than the layout has room for are cut to what it has.
Result<> make_buffers(uint32_t pages);
/// nullptr if the CPU has none.
const Buffer* buffer_of(CpuId cpu);

}  // namespace hv::trace
