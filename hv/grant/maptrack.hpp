// What a domain has mapped of others' grants: a handle names each mapping, and only with the
// handle can it be undone. The entry owns the mapping's references on frame and granter.
#pragma once

#include <cstdint>

#include "base/lock.hpp"
#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/heap.hpp"

namespace hv {

class GrantTable;

namespace grant {

/// One mapping. `kinds` are GNTMAP_host_map and GNTMAP_device_map.
struct Mapping {
    GrantTable* granter = nullptr;  ///< held by GrantTable::mapped_handles
    uint32_t ref = 0;
    uint16_t flags = 0;  ///< GNTMAP_*, the low ones; kinds that nobody has begun to undo
    uint16_t held = 0;   ///< kinds whose references have not been dropped; 0: the handle is free
};
static_assert(sizeof(Mapping) == 16);

class Maptrack {
  public:
    static constexpr uint32_t kPerFrame = kPageSize / sizeof(Mapping);

    Maptrack() = default;
    ~Maptrack();

    /// A handle for a mapping in the making; nobody can undo it before publish().
    /// kENOSPC: `max_frames` frames are full; kENOMEM.
    Result<uint32_t> reserve(uint32_t max_frames);
    void publish(uint32_t handle, GrantTable& granter, uint32_t ref, uint16_t flags);
    /// Gives back a handle that was reserved and not published.
    void abandon(uint32_t handle);

    /// Begins to undo the mapping: takes those of `kinds` that it has, so that nobody else undoes
    /// them too. The copy says which they are in `held`. kEINVAL: not a handle in use.
    Result<Mapping> claim(uint32_t handle, uint16_t kinds);
    /// Those `kinds` could not be undone.
    void unclaim(uint32_t handle, uint16_t kinds);
    /// They are undone; true if that was the rest and the handle is free.
    bool finish(uint32_t handle, uint16_t kinds);

    uint32_t handle_limit() const { return limit_.load(std::memory_order_acquire); }

    uint32_t release_cursor = 0;  ///< where release_mappings() goes on

  private:
    static constexpr uint32_t kNoHandle = ~uint32_t{0};

    Result<> add_frame(uint32_t max_frames);
    /// The entry of a handle below the limit.
    Mapping& at(uint32_t handle) { return frames_[handle / kPerFrame][handle % kPerFrame]; }

    SpinLock lock_{static_cast<uint8_t>(Rank::kMaptrack)};
    heap::OwnedArray<Mapping*> frames_;  ///< made with the first mapping: most guests never map
    std::atomic<uint32_t> limit_{0};     ///< handles that have an entry
    uint32_t free_ = kNoHandle;          ///< first free one; the next is in its `ref`
};

}  // namespace grant
}  // namespace hv
