#include "hv/grant/maptrack.hpp"

#include <xen/xen.h>

#include <xen/grant_table.h>

namespace hv::grant {

static_assert(Maptrack::kKinds == (GNTMAP_device_map | GNTMAP_host_map));

Maptrack::~Maptrack() {
    for (uint32_t i = 0; i < limit_.load() / kPerFrame; ++i) heap::release(frames_[i]);
}

Result<> Maptrack::add_frame(uint32_t max_frames) {
    if (!frames_.data()) frames_ = TRY(heap::OwnedArray<Mapping*>::create(max_frames));
    const uint32_t first = limit_.load(std::memory_order_relaxed);
    const uint32_t index = first / kPerFrame;
    if (index >= frames_.size()) return Errno::kENOSPC;
    auto* entries = static_cast<Mapping*>(heap::allocate(kPageSize));
    if (!entries) return Errno::kENOMEM;
    frames_[index] = entries;
    for (uint32_t i = 0; i < kPerFrame; ++i)
        entries[i].ref = i + 1 < kPerFrame ? first + i + 1 : free_;
    free_ = first;
    // Only now may the new handles be named: frames_ is read without the lock.
    limit_.store(first + kPerFrame, std::memory_order_release);
    return {};
}

}  // namespace hv::grant
