// Memory for something large that boot needs for a while, contiguous and in the direct map.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::boot {

class BootBuffer {
  public:
    BootBuffer() = default;
    /// At least `bytes`, contents undefined; kENOMEM. What rounding up to a power of two would
    /// waste is given back at once.
    static Result<BootBuffer> create(uint64_t bytes);
    BootBuffer(BootBuffer&& other) noexcept
        : first_(other.first_), pages_(std::exchange(other.pages_, 0)) {}
    BootBuffer& operator=(BootBuffer&& other) noexcept {
        release();
        first_ = other.first_;
        pages_ = std::exchange(other.pages_, 0);
        return *this;
    }
    ~BootBuffer() { release(); }

    void release();  ///< gives it back early
    uint8_t* data() const;
    uint64_t pages() const { return pages_; }

  private:
    Mfn first_{0};
    uint64_t pages_ = 0;
};

}  // namespace hv::boot
