// The page struct: 16 bytes for each frame of RAM, and the references on it.
//
//   refs  63      48 47 46..32 31.......0          type  63......32 31 30 29 28 27..24 23....0
//        | flags   |o | owner |  count   |              |   aux    |dr|pa|pi|va| type | count |
//
// refs.count  general references: mappings of any kind, plus one for being allocated. At 0 the
//             frame goes back to the allocator. It refuses to overflow.
// o, owner    owned by domain `owner` (15 bits are enough: ids stay below 0x7FF0).
// type        what the frame is used as while type.count > 0. A frame is a page table, descriptor
//             page or writable, never two at once: that is what makes direct paging safe.
//             A type may change only when its count is 0.
// va, pi, pa  the contents are checked for that type; pinned; checked in part (resumable).
// aux         while in part: entries done; at count 0: TLB stamp of the last use as that type.
//
// Structs are filled in lazily: a section of the table is backed when its first frame is handed
// out, so page_info() says nullptr for frames that nobody has ever had. While a frame is free, the
// flags say what has to be done before it is handed out again, aux is the stamp of its freeing,
// and the type word of a block's head holds the block's order (buddy.hpp).
#pragma once

#include <atomic>

#include "arch/memory.hpp"
#include "base/nospec.hpp"
#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

struct Domain;

enum class PageType : uint8_t {
    kNone = 0,
    kL1 = 1,  // L1..L4: page tables of that level, checked
    kL2 = 2,
    kL3 = 3,
    kL4 = 4,
    kDescriptor = 5,  // GDT or LDT page
    kWritable = 6,
};

class PageInfo {
  public:
    // refs word
    static constexpr uint64_t kRefMask = 0xffffffff;
    static constexpr unsigned kOwnerShift = 32;
    static constexpr uint64_t kOwnerMask = uint64_t{0x7fff} << kOwnerShift;
    static constexpr uint64_t kOwned = uint64_t{1} << 47;
    static constexpr uint64_t kAllocated = uint64_t{1} << 48;   // the reservation's own reference
    static constexpr uint64_t kHypervisor = uint64_t{1} << 49;  // ours, perhaps shown to `owner`
    static constexpr uint64_t kFree = uint64_t{1} << 50;        // heads a free block
    static constexpr uint64_t kReadOnly = uint64_t{1} << 51;    // shown read-only to its owner
    static constexpr uint64_t kNeedsScrub = uint64_t{1} << 52;  // free: holds somebody's data
    static constexpr uint64_t kZeroed = uint64_t{1} << 53;      // free: known to be all zeros
    static constexpr uint64_t kStamped = uint64_t{1} << 54;     // free: aux is a flush stamp
    static constexpr uint64_t kBlockDirty = uint64_t{1} << 55;  // free head: a frame needs a scrub

    // type word
    static constexpr uint64_t kTypeCountMask = 0xffffff;
    static constexpr unsigned kTypeShift = 24;
    static constexpr uint64_t kTypeMask = uint64_t{0xf} << kTypeShift;
    static constexpr uint64_t kValidated = uint64_t{1} << 28;
    static constexpr uint64_t kPinned = uint64_t{1} << 29;
    static constexpr uint64_t kPartial = uint64_t{1} << 30;
    static constexpr uint64_t kDropping = uint64_t{1} << 31;  ///< partial, on the way down
    static constexpr unsigned kAuxShift = 32;

    std::atomic<uint64_t> refs{0};
    std::atomic<uint64_t> type{0};

    uint64_t ref_count() const { return refs.load(std::memory_order_relaxed) & kRefMask; }
    bool has(uint64_t flag) const { return refs.load(std::memory_order_acquire) & flag; }
    /// The owner, if the frame is owned by a domain at all.
    bool owned_by(DomId id) const {
        uint64_t r = refs.load(std::memory_order_acquire);
        return (r & kOwned) && ((r & kOwnerMask) >> kOwnerShift) == id.raw();
    }
    Result<DomId> owner() const {
        uint64_t r = refs.load(std::memory_order_acquire);
        if (!(r & kOwned)) return Errno::kESRCH;
        return DomId{static_cast<uint16_t>((r & kOwnerMask) >> kOwnerShift)};
    }
    PageType page_type() const {
        return static_cast<PageType>((type.load(std::memory_order_acquire) & kTypeMask) >>
                                     kTypeShift);
    }
    uint32_t type_count() const {
        return static_cast<uint32_t>(type.load(std::memory_order_acquire) & kTypeCountMask);
    }

    /// One general reference if the frame is allocated to `owner`; false if not, or at the limit.
    /// `without`: flags that it must not have.
    bool get(DomId owner, uint64_t without = 0) {
        // kOwned and the owner are 16 bits of their own.
        const auto want = static_cast<uint16_t>(kOwned >> kOwnerShift | owner.raw());
        uint64_t now = refs.load(std::memory_order_relaxed);
        do {
            if (static_cast<uint16_t>(now >> kOwnerShift) != want || (now & without)) return false;
            // Neither 0 nor the limit.
            if (static_cast<uint32_t>(now + 1) <= 1) return false;
        } while (!refs.compare_exchange_weak(now, now + 1, std::memory_order_acquire,
                                             std::memory_order_relaxed));
        return true;
    }
    /// One more on a frame that the caller holds already; false at the limit.
    bool get_again();
    /// Drops a general reference; the last one frees the frame.
    void put() {
        const uint64_t before = refs.fetch_sub(1, std::memory_order_acq_rel);
        if ((before & kRefMask) <= 1) [[unlikely]]
            last_put(before);
    }
    /// Clears kAllocated; true if this call did it (the caller then owes the put()).
    bool clear_allocated();

    /// A type reference for kWritable (needs no check of contents); the caller holds a general
    /// one. False if the frame is in use as something else. Page tables: pv/page_type.hpp.
    bool get_writable_type() {
        uint64_t now = type.load(std::memory_order_acquire);
        // Type and count as one number: at least one of that type, and not the limit.
        const auto used = static_cast<uint32_t>(now & (kTypeMask | kTypeCountMask));
        if (used - (kWritableType | 1) < kTypeCountMask - 1 &&
            type.compare_exchange_strong(now, now + 1, std::memory_order_acq_rel))
            return true;
        return first_writable_type(now);
    }
    /// Drops a type reference of a type whose contents need no undoing (kWritable, and
    /// kDescriptor); page tables go through pv/page_type.hpp.
    void put_simple_type() {
        uint64_t now = type.load(std::memory_order_acquire);
        if ((now & kTypeCountMask) > 1 &&
            type.compare_exchange_strong(now, now - 1, std::memory_order_acq_rel))
            return;
        last_simple_type(now);
    }

  private:
    static constexpr uint32_t kWritableType = uint32_t{static_cast<uint8_t>(PageType::kWritable)}
                                              << kTypeShift;

    // What the functions above come to when they find anything but the usual; all cases, given the
    // word as it was.
    void last_put(uint64_t before);
    bool first_writable_type(uint64_t now);
    void last_simple_type(uint64_t now);
};
static_assert(sizeof(PageInfo) == 16);

namespace memory {

inline constexpr uint64_t kMaxFrames = uint64_t{1} << 30;  ///< 4 TiB of machine addresses
inline constexpr unsigned kSectionShift = 13;
inline constexpr uint64_t kSectionFrames = uint64_t{1} << kSectionShift;  ///< backed together
inline constexpr uint64_t kSections = kMaxFrames >> kSectionShift;

/// One bit for each section whose structs are backed. Set once, never cleared.
extern std::atomic<uint64_t> backed_sections[kSections / 64];

}  // namespace memory

/// The struct of a frame; nullptr if the frame is not RAM that was ever handed out.
inline PageInfo* page_info(Mfn mfn) {
    uint64_t index = mfn.raw();
    if (index >= memory::kMaxFrames) return nullptr;
    // Guests name arbitrary frames: hide the bound from the compiler, so that the mask stays and
    // holds under speculation too.
    __asm__("" : "+r"(index));
    index &= memory::kMaxFrames - 1;
    const uint64_t section = index >> memory::kSectionShift;
    const uint64_t word = memory::backed_sections[section / 64].load(std::memory_order_acquire);
    if (!((word >> (section % 64)) & 1)) return nullptr;
    return reinterpret_cast<PageInfo*>(arch::kFrameTable) + index;
}

/// The same for a frame of which it is known that it was handed out: no check.
inline PageInfo& page_of(Mfn mfn) {
    return reinterpret_cast<PageInfo*>(arch::kFrameTable)[mfn.raw()];
}

inline Mfn mfn_of(const PageInfo& page) {
    return Mfn{static_cast<uint64_t>(&page - reinterpret_cast<PageInfo*>(arch::kFrameTable))};
}

/// An owned general reference.
class PageRef {
  public:
    PageRef() = default;
    /// kEINVAL unless `mfn` is RAM that `owner` holds.
    static Result<PageRef> take(Mfn mfn, DomId owner) {
        PageInfo* page = page_info(mfn);
        if (!page || !page->get(owner)) return Errno::kEINVAL;
        base::block_speculation();  // the frame is read next, and may lead on
        return adopt(page);
    }
    static PageRef adopt(PageInfo* page) {
        PageRef r;
        r.page_ = page;
        return r;
    }
    PageRef(PageRef&& o) noexcept : page_(o.release()) {}
    PageRef& operator=(PageRef&& o) noexcept {
        if (this != &o) {
            if (page_) page_->put();
            page_ = o.release();
        }
        return *this;
    }
    ~PageRef() {
        if (page_) page_->put();
    }
    PageInfo* get() const { return page_; }
    PageInfo* operator->() const { return page_; }
    explicit operator bool() const { return page_ != nullptr; }
    Mfn mfn() const { return mfn_of(*page_); }
    [[nodiscard]] PageInfo* release() {
        PageInfo* p = page_;
        page_ = nullptr;
        return p;
    }

  private:
    PageInfo* page_ = nullptr;
};

/// An owned reference to a frame that may be written (general and type reference).
class WritablePageRef {
  public:
    WritablePageRef() = default;
    /// kEINVAL unless `mfn` is RAM that `owner` holds and nobody uses as a page table or so.
    static Result<WritablePageRef> take(Mfn mfn, DomId owner);
    WritablePageRef(WritablePageRef&& o) noexcept = default;
    WritablePageRef& operator=(WritablePageRef&& o) noexcept {
        if (this != &o) {
            drop();
            ref_ = static_cast<PageRef&&>(o.ref_);
        }
        return *this;
    }
    ~WritablePageRef() { drop(); }
    PageInfo* get() const { return ref_.get(); }
    explicit operator bool() const { return static_cast<bool>(ref_); }
    Mfn mfn() const { return ref_.mfn(); }
    void drop() {
        if (ref_) ref_->put_simple_type();
        ref_ = PageRef{};
    }
    /// Gives both references up to the caller, who owes put_simple_type() and put().
    [[nodiscard]] PageInfo* release() { return ref_.release(); }

  private:
    PageRef ref_;
};

}  // namespace hv
