// What a domain has mapped of others' grants: a handle names each mapping, and only with the
// handle can it be undone. The entry owns the mapping's references on frame and granter.
//
// A handle is free (in the list), reserved (a mapping in the making) or published. Each kind of a
// published one (host, device) is first claimed by whoever undoes it, so that nobody undoes it
// twice, and finished when its references are dropped. Only taking and giving back handles locks.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/lock.hpp"
#include "base/nospec.hpp"
#include "base/result.hpp"
#include "hv/grant/grant.hpp"
#include "hv/limits.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/heap.hpp"

namespace hv {

class GrantTable;

namespace grant {

/// One mapping. `granter` and `ref` stand still while `state` is not 0.
struct Mapping {
    GrantTable* granter;          ///< held by GrantTable::mapped_handles
    uint32_t ref;                 ///< of a free handle: the next free one
    std::atomic<uint32_t> state;  ///< GNTMAP_* flags, without kinds that are being undone; from
                                  ///< kHeldShift on, the kinds that are not finished
};
static_assert(sizeof(Mapping) == 16);

class Maptrack {
  public:
    static constexpr uint32_t kPerFrame = kPageSize / sizeof(Mapping);
    static constexpr uint32_t kKinds = 3;  ///< GNTMAP_device_map | GNTMAP_host_map
    static constexpr unsigned kHeldShift = 16;

    Maptrack() = default;
    ~Maptrack();

    /// A handle for a mapping in the making, and its entry. Null: as many as `limits` allows are
    /// in use, or there is no memory for more.
    Mapping* reserve(const Limits& limits, uint32_t& handle) {
        LockGuard guard(lock_);
        if (free_ == kNoHandle && !add_frame(limits.max_maptrack_frames)) [[unlikely]]
            return nullptr;
        handle = free_;
        Mapping& mapping = at(handle);
        free_ = mapping.ref;
        return &mapping;
    }
    /// Makes the entries of the first `frames` frames (at most `max_frames`) ahead of need.
    /// kENOMEM.
    Result<> prepare(uint32_t frames, uint32_t max_frames) {
        LockGuard guard(lock_);
        while (limit_.load(std::memory_order_relaxed) < std::min(frames, max_frames) * kPerFrame)
            TRY(add_frame(max_frames));
        return {};
    }
    /// Gives back a handle that was reserved and not published.
    void abandon(uint32_t handle, Mapping& mapping) {
        LockGuard guard(lock_);
        mapping.ref = free_;
        free_ = handle;
    }
    /// The mapping exists, with the kinds in `flags`: from now on it can be undone.
    static void publish(Mapping& mapping, GrantTable& granter, uint32_t ref, uint32_t flags) {
        mapping.granter = &granter;
        mapping.ref = ref;
        mapping.state.store((flags & 0xffff) | (flags & kKinds) << kHeldShift,
                            std::memory_order_release);
    }

    /// Begins to undo those of `kinds` that the mapping has: `taken`, perhaps none. `flags` are the
    /// mapping's. Null: not a handle in use. The mapping stands still until finish() or unclaim().
    Mapping* claim(uint32_t handle, uint32_t kinds, uint32_t& taken, uint32_t& flags) {
        const uint32_t limit = handle_limit();
        if (handle >= limit) return nullptr;
        Mapping& mapping = at(static_cast<uint32_t>(base::index_nospec(handle, limit)));
        flags = mapping.state.load(std::memory_order_acquire);
        do {
            if (!(flags & kKinds)) return nullptr;
            taken = flags & kinds & kKinds;
        } while (!mapping.state.compare_exchange_weak(flags, flags & ~taken));
        return &mapping;
    }
    /// Those `kinds` could not be undone.
    static void unclaim(Mapping& mapping, uint32_t kinds) { mapping.state.fetch_or(kinds); }
    /// They are undone; true if that was the rest and the handle is free.
    bool finish(uint32_t handle, Mapping& mapping, uint32_t kinds) {
        const uint32_t held = kinds << kHeldShift;
        // Who holds all that is left is alone with it.
        if (mapping.state.load(std::memory_order_acquire) >> kHeldShift != kinds &&
            (mapping.state.fetch_and(~held) & ~held) >> kHeldShift)
            return false;
        mapping.state.store(0, std::memory_order_relaxed);
        abandon(handle, mapping);
        return true;
    }

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
    uint32_t free_ = kNoHandle;          ///< first free one
};

}  // namespace grant
}  // namespace hv
