#include "hv/grant/maptrack.hpp"

#include <cstdint>

#include <xen/xen.h>

#include <xen/grant_table.h>

#include "base/nospec.hpp"

namespace hv::grant {
namespace {

constexpr uint16_t kKinds = GNTMAP_host_map | GNTMAP_device_map;

}  // namespace

Maptrack::~Maptrack() {
    for (uint32_t i = 0; i < limit_.load() / kPerFrame; ++i) heap::release(frames_[i]);
}

Result<> Maptrack::add_frame(uint32_t max_frames) {
    if (!frames_.data()) frames_ = TRY(heap::OwnedArray<Mapping*>::create(max_frames));
    uint32_t first = limit_.load(std::memory_order_relaxed);
    uint32_t index = first / kPerFrame;
    if (index >= frames_.size()) return Errno::kENOSPC;
    auto* entries = static_cast<Mapping*>(heap::allocate(kPageSize));
    if (!entries) return Errno::kENOMEM;
    frames_[index] = entries;
    for (uint32_t i = 0; i < kPerFrame; ++i)
        entries[i].ref = i + 1 < kPerFrame ? first + i + 1 : free_;
    free_ = first;
    limit_.store(first + kPerFrame, std::memory_order_release);
    return {};
}

Result<uint32_t> Maptrack::reserve(uint32_t max_frames) {
    LockGuard guard(lock_);
    if (free_ == kNoHandle) TRY(add_frame(max_frames));
    uint32_t handle = free_;
    free_ = at(handle).ref;
    return handle;
}

void Maptrack::publish(uint32_t handle, GrantTable& granter, uint32_t ref, uint16_t flags) {
    LockGuard guard(lock_);
    Mapping& mapping = at(handle);
    mapping.granter = &granter;
    mapping.ref = ref;
    mapping.flags = flags;
    mapping.held = flags & kKinds;
}

void Maptrack::abandon(uint32_t handle) {
    LockGuard guard(lock_);
    at(handle).ref = free_;
    free_ = handle;
}

Result<Mapping> Maptrack::claim(uint32_t handle, uint16_t kinds) {
    LockGuard guard(lock_);
    uint32_t limit = limit_.load(std::memory_order_relaxed);
    if (handle >= limit) return Errno::kEINVAL;
    Mapping& mapping = at(static_cast<uint32_t>(base::index_nospec(handle, limit)));
    if (!(mapping.flags & kKinds)) return Errno::kEINVAL;
    Mapping taken = mapping;
    taken.held = mapping.flags & kinds & kKinds;
    mapping.flags &= static_cast<uint16_t>(~taken.held);
    return taken;
}

void Maptrack::unclaim(uint32_t handle, uint16_t kinds) {
    LockGuard guard(lock_);
    at(handle).flags |= kinds;
}

bool Maptrack::finish(uint32_t handle, uint16_t kinds) {
    LockGuard guard(lock_);
    Mapping& mapping = at(handle);
    mapping.held &= static_cast<uint16_t>(~kinds);
    if (mapping.held) return false;
    mapping.granter = nullptr;
    mapping.flags = 0;
    mapping.ref = free_;
    free_ = handle;
    return true;
}

}  // namespace hv::grant
