// A domain's grant table. Private to hv/grant.
//
//   shared frames   what the domain writes: who may use which frame, and how. Read with care: the
//                   domain may change any word at any time.
//   status frames   version 2 only: what we write for it to read (in use for reading, writing).
//   active entries  ours, beside each shared entry: who uses it now, how often, and which frame it
//                   named when that began. While an entry is pinned nothing the domain writes
//                   changes what the users have.
//
// An entry's use is under the entry's own lock, so that CPUs which use different entries do not
// wait for each other; all else is under the table's, unless it says otherwise. Who changes the
// version has the table's lock and those of all entries: with either of the two it stands still.
// A table only grows.
#pragma once

#include <atomic>
#include <cstdint>

#include <xen/xen.h>

#include <xen/grant_table.h>

#include "arch/memory.hpp"
#include "base/lock.hpp"
#include "base/nospec.hpp"
#include "base/result.hpp"
#include "hv/grant/grant.hpp"
#include "hv/grant/maptrack.hpp"
#include "hv/limits.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/heap.hpp"

namespace hv {

namespace grant {

using Status = int16_t;  ///< GNTST_*: how one element of a batch went

inline constexpr uint32_t kEntriesPerFrameV1 = kPageSize / sizeof(grant_entry_v1);
inline constexpr uint32_t kEntriesPerFrameV2 = kPageSize / sizeof(grant_entry_v2);
inline constexpr uint32_t kStatusPerFrame = kPageSize / sizeof(grant_status_t);

enum class Access : uint8_t { kRead, kWrite };

/// What an entry is in use for: under its lock. A pinned one's frame stands still without.
struct alignas(32) ActiveEntry {
    Mfn frame;       ///< pinned: the frame that users have; kInvalidMfn for a transitive one
    uint32_t uses;   ///< maps, copies and device maps: readers in the low half, writers above
    uint16_t user;   ///< pinned: the only domain that may use it
    uint16_t start;  ///< bytes of the frame that may be accessed (version 2: sub-page grants)
    uint16_t length;
    bool is_sub_page;  ///< may be copied from and to, not mapped
    TicketLock lock;   ///< of rank kGrantEntry; also that of the marks the granter sees

    static constexpr uint32_t one(Access access) { return access == Access::kWrite ? 1 << 16 : 1; }

    bool pinned() const { return uses; }
    /// Without the lock, for who looks for those that are.
    bool seems_pinned() { return std::atomic_ref(uses).load(std::memory_order_relaxed); }
    uint32_t readers() const { return uses & 0xffff; }
    uint32_t writers() const { return uses >> 16; }
    bool is_full(Access access) const {
        return (access == Access::kWrite ? writers() : readers()) == 0xffff;
    }
};
static_assert(sizeof(ActiveEntry) == 32);

class XEN_TSA(scoped_lockable) EntryGuard {
  public:
    explicit EntryGuard(ActiveEntry& entry) XEN_TSA(acquire_capability(entry.lock))
        : lock_(entry.lock) {
        lock_.lock();
        if constexpr (base::kCheckLockOrder) base::note_lock_taken(kRank);
    }
    ~EntryGuard() XEN_TSA(release_capability()) {
        if constexpr (base::kCheckLockOrder) base::note_lock_dropped(kRank);
        lock_.unlock();
    }
    EntryGuard(const EntryGuard&) = delete;
    EntryGuard& operator=(const EntryGuard&) = delete;

    static constexpr auto kRank = static_cast<uint8_t>(Rank::kGrantEntry);

  private:
    TicketLock& lock_;
};
inline constexpr uint32_t kActivePerPage = kPageSize / sizeof(ActiveEntry);

enum class Purpose : uint8_t {
    kMap,
    kCopy,
    kFollow,  ///< to copy through a transitive entry, by the grant that it names
};

/// A use of a grant: what pin() gives and unpin() takes back.
struct Pin {
    PageInfo* page;  ///< holds a general reference, and for writing a writable type
    uint32_t start;  ///< bytes [start, end) of the frame may be accessed
    uint32_t end;    ///< at most kPageSize
};

}  // namespace grant

class GrantTable {
  public:
    GrantTable(Domain& owner, const grant::Limits& bounds) : domain(owner), limits(bounds) {}
    ~GrantTable();

    /// Needs no lock, but of version 2 there are half as many: who has looked at the version later,
    /// under an entry's lock, and found 2 has to ask again.
    uint32_t entry_count() const { return entries.load(std::memory_order_acquire); }

    // Under `lock`:

    /// At least `frames` frames, and as version 2 the status frames for them.
    /// kEINVAL: beyond the domain's limit; kENOMEM (what could be had stays).
    Result<> grow(uint32_t frames);
    Result<> add_status_frames();  ///< for as many entries as there are shared ones
    /// With all entries locked if it is another one than before.
    void set_version(uint8_t to) {
        version = to;
        // The entries exist before they may be named.
        entries.store(
            frame_count * (to == 1 ? grant::kEntriesPerFrameV1 : grant::kEntriesPerFrameV2),
            std::memory_order_release);
    }

    // `ref` is below entry_count() and masked (base::index_nospec):

    grant::ActiveEntry& active(uint32_t ref) {
        return active_pages[ref / grant::kActivePerPage][ref % grant::kActivePerPage];
    }
    grant_entry_v1& entry_v1(uint32_t ref) {
        auto* frame = static_cast<grant_entry_v1*>(frames[ref / grant::kEntriesPerFrameV1]);
        return frame[ref % grant::kEntriesPerFrameV1];
    }
    grant_entry_v2& entry_v2(uint32_t ref) {
        auto* frame = static_cast<grant_entry_v2*>(frames[ref / grant::kEntriesPerFrameV2]);
        return frame[ref % grant::kEntriesPerFrameV2];
    }
    grant_status_t& status_v2(uint32_t ref) {
        auto* frame = static_cast<grant_status_t*>(status_frames[ref / grant::kStatusPerFrame]);
        return frame[ref % grant::kStatusPerFrame];
    }
    /// Flags (low half) and domain id, as one word that both sides change by compare-exchange.
    std::atomic_ref<uint32_t> header(uint32_t ref) {
        return version == 1 ? header_v1(ref)
                            : std::atomic_ref(reinterpret_cast<uint32_t&>(entry_v2(ref)));
    }
    std::atomic_ref<uint32_t> header_v1(uint32_t ref) {
        return std::atomic_ref(reinterpret_cast<uint32_t&>(entry_v1(ref)));
    }

    // Without any lock:

    /// Counts one more of `mapped_handles`. False: nothing but RCU keeps us any more.
    bool add_handle() {
        uint32_t count = mapped_handles.load(std::memory_order_relaxed);
        while (count)
            if (mapped_handles.compare_exchange_weak(count, count + 1)) return true;
        return add_first_handle();
    }
    void drop_handle() {
        if (mapped_handles.fetch_sub(1) == 1) drop_last_handle();
    }

    Domain& domain;
    const grant::Limits limits;
    SpinLock lock{static_cast<uint8_t>(Rank::kGrant)};
    uint8_t version = 1;
    uint32_t frame_count = 0;
    uint32_t status_count = 0;
    std::atomic<uint32_t> entries{0};  ///< in those frames, as the version has it
    heap::OwnedArray<void*> frames;    ///< in the direct map
    heap::OwnedArray<void*> status_frames;
    heap::OwnedArray<grant::ActiveEntry*> active_pages;
    /// Handles that other domains (or this one) hold on our entries. While there are any we hold
    /// a reference on ourselves, so a mapper never finds its granter gone. Without the lock.
    /// In a cache line of its own: who maps changes it, and reads what is above.
    alignas(64) std::atomic<uint32_t> mapped_handles{0};

    /// What this domain has mapped of others; has its own lock, and is the domain's own CPUs'.
    alignas(64) grant::Maptrack maptrack;

  private:
    bool add_first_handle();
    void drop_last_handle();
};

namespace grant {

/// A transitive entry names a grant that `table`'s domain has of another one.
struct Via {
    DomId domain;
    uint32_t ref;
};
/// Begins the use of a transitive entry and says where it leads; errors as pin().
Status pin_to_follow(GrantTable& table, uint32_t ref, DomId user, Access access, Via& via);
/// One more use of an entry that the caller has pinned already, the same way.
Status pin_again(GrantTable& table, uint32_t ref, Access access, PageInfo& page);

/// The references that a use has on a frame of `owner`'s: one to keep it, one of type to write to
/// it. GNTST_bad_page: not its frame; _general_error: nobody may write to it.
[[gnu::always_inline]] inline Status take_page(PageInfo* page, DomId owner, Access access) {
    const bool write = access == Access::kWrite;
    if (!page || !page->get(owner, write ? PageInfo::kReadOnly : 0)) [[unlikely]]
        return write && page && page->owned_by(owner) && page->has(PageInfo::kReadOnly)
                   ? GNTST_general_error
                   : GNTST_bad_page;
    if (!write || page->get_writable_type()) [[likely]]
        return GNTST_okay;
    page->put();
    return GNTST_general_error;
}
inline void put_page(PageInfo& page, Access access) {
    if (access == Access::kWrite) page.put_simple_type();
    page.put();
}

}  // namespace grant
}  // namespace hv
