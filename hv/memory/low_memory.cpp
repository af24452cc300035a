#include "hv/memory/low_memory.hpp"

#include <algorithm>
#include <bit>

#include "hv/memory/free_memory.hpp"

namespace hv::memory {

void LowMemoryRule::set(uint64_t frames) {
    highest_ = next_ = std::bit_floor(frames);
    back_ = UINT64_MAX;
}

bool LowMemoryRule::cross(uint64_t left) {
    if (highest_ == 0) return false;
    if (left <= next_) {
        back_ = next_ * 2;
        next_ = std::max(next_ / 2, uint64_t{1});
        return true;
    }
    next_ *= 2;
    back_ = next_ == highest_ ? UINT64_MAX : next_ * 4;
    return false;
}

uint64_t watch_low_memory(uint64_t limit, void (*handler)()) {
    constexpr uint64_t kUsual = 64 << (20 - kPageShift), kMost = 1024 << (20 - kPageShift);
    auto memory = free_memory.lock();
    const bool usual = limit == kUsualLowMemoryLimit;
    uint64_t frames = std::min({usual ? kUsual : limit >> kPageShift, kMost, memory->free});
    if (usual && frames == memory->free) frames /= 2;
    if (limit != 0) memory->low.set(std::max(frames, uint64_t{1}));
    memory->on_low = handler;
    return memory->low.threshold();
}

}  // namespace hv::memory
