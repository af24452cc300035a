#include "hv/memory/page.hpp"

#include "arch/cpu.hpp"
#include "hv/console/log.hpp"
#include "hv/memory/allocator.hpp"

namespace hv {

constinit std::atomic<uint64_t> memory::backed_sections[memory::kSections / 64];

bool PageInfo::get(DomId owner) {
    const uint64_t want = kOwned | (uint64_t{owner.raw()} << kOwnerShift);
    uint64_t now = refs.load(std::memory_order_relaxed);
    do {
        if ((now & (kOwned | kOwnerMask)) != want) return false;
        const uint64_t count = now & kRefMask;
        if (count == 0 || count == kRefMask) return false;
    } while (!refs.compare_exchange_weak(now, now + 1, std::memory_order_acquire,
                                         std::memory_order_relaxed));
    return true;
}

bool PageInfo::get_again() {
    uint64_t now = refs.load(std::memory_order_relaxed);
    do {
        if ((now & kRefMask) == kRefMask) return false;
    } while (!refs.compare_exchange_weak(now, now + 1, std::memory_order_relaxed));
    return true;
}

void PageInfo::put() {
    const uint64_t before = refs.fetch_sub(1, std::memory_order_acq_rel);
    invariant((before & kRefMask) != 0, "a page reference is dropped that nobody holds");
    if ((before & kRefMask) == 1) memory::free_domain_frame(*this);
}

bool PageInfo::clear_allocated() {
    return refs.fetch_and(~kAllocated, std::memory_order_acq_rel) & kAllocated;
}

namespace {

constexpr uint64_t kWritableType = uint64_t{static_cast<uint8_t>(PageType::kWritable)}
                                   << PageInfo::kTypeShift;

/// The frame was a page table or a descriptor page: a CPU may still walk or load what is about to
/// become freely writable.
void flush_before_writing(uint64_t type_word) {
    const uint64_t was = type_word & PageInfo::kTypeMask;
    if (was == 0 || was == kWritableType) return;
    const auto stamp = static_cast<uint32_t>(type_word >> PageInfo::kAuxShift);
    const CpuMask stale = arch::cpus_not_flushed_since(arch::online_cpus(), stamp);
    if (!stale.empty()) arch::flush_tlb(stale);
}

}  // namespace

bool PageInfo::get_writable_type() {
    uint64_t now = type.load(std::memory_order_acquire);
    for (;;) {
        const uint64_t count = now & kTypeCountMask;
        uint64_t next;
        if (count == 0) {
            flush_before_writing(now);
            next = kWritableType | kValidated | 1;
        } else {
            if ((now & kTypeMask) != kWritableType || count == kTypeCountMask) return false;
            next = now + 1;
        }
        if (type.compare_exchange_weak(now, next, std::memory_order_acq_rel,
                                       std::memory_order_acquire))
            return true;
    }
}

void PageInfo::put_simple_type() {
    uint64_t now = type.load(std::memory_order_acquire);
    uint64_t next;
    do {
        invariant((now & kTypeCountMask) != 0, "a type reference is dropped that nobody holds");
        next = now - 1;
        if ((next & kTypeCountMask) == 0)
            next = (next & kTypeMask) | (uint64_t{arch::tlb_flush_stamp()} << kAuxShift);
    } while (!type.compare_exchange_weak(now, next, std::memory_order_acq_rel,
                                         std::memory_order_acquire));
}

Result<PageRef> PageRef::take(Mfn mfn, DomId owner) {
    PageInfo* page = page_info(mfn);
    if (!page || !page->get(owner)) return Errno::kEINVAL;
    return PageRef::adopt(page);
}

Result<WritablePageRef> WritablePageRef::take(Mfn mfn, DomId owner) {
    PageRef page = TRY(PageRef::take(mfn, owner));
    if (page->has(PageInfo::kReadOnly) || !page->get_writable_type()) return Errno::kEINVAL;
    WritablePageRef r;
    r.ref_ = static_cast<PageRef&&>(page);
    return r;
}

}  // namespace hv
