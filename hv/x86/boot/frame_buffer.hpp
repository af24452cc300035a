// Memory for something large that boot needs for a while, contiguous and in the direct map.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::boot {

class FrameBuffer {
  public:
    FrameBuffer() = default;
    /// At least `bytes`, contents undefined; kENOMEM. What rounding up to a power of two would
    /// waste is given back at once.
    static Result<FrameBuffer> create(uint64_t bytes);
    FrameBuffer(FrameBuffer&& other) noexcept
        : first_(other.first_), pages_(std::exchange(other.pages_, 0)) {}
    FrameBuffer& operator=(FrameBuffer&& other) noexcept {
        release();
        first_ = other.first_;
        pages_ = std::exchange(other.pages_, 0);
        return *this;
    }
    ~FrameBuffer() { release(); }

    void release();  ///< gives it back early
    uint8_t* data() const;
    uint64_t pages() const { return pages_; }

  private:
    Mfn first_{0};
    uint64_t pages_ = 0;
};

}  // namespace hv::boot
