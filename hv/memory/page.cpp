#include "hv/memory/page.hpp"

#include "arch/cpu.hpp"
#include "hv/console/log.hpp"
#include "hv/memory/allocator.hpp"

namespace hv {

constinit std::atomic<uint64_t> memory::backed_sections[memory::kSections / 64];

bool PageInfo::get_again() {
    uint64_t now = refs.load(std::memory_order_relaxed);
    do {
        if ((now & kRefMask) == kRefMask) return false;
    } while (!refs.compare_exchange_weak(now, now + 1, std::memory_order_relaxed));
    return true;
}

void PageInfo::last_put(uint64_t before) {
    invariant((before & kRefMask) != 0, "a page reference is dropped that nobody holds");
    memory::free_domain_frame(*this);
}

bool PageInfo::clear_allocated() {
    return refs.fetch_and(~kAllocated, std::memory_order_acq_rel) & kAllocated;
}

namespace {

/// The frame was a page table or a descriptor page: a CPU may still walk or load what is about to
/// become freely writable.
void flush_before_writing(uint64_t type_word) {
    const uint64_t was = type_word & PageInfo::kTypeMask;
    constexpr uint64_t kWritable = uint64_t{static_cast<uint8_t>(PageType::kWritable)}
                                   << PageInfo::kTypeShift;
    if (was == 0 || was == kWritable) return;
    const auto stamp = static_cast<uint32_t>(type_word >> PageInfo::kAuxShift);
    const CpuMask stale = arch::cpus_not_flushed_since(arch::online_cpus(), stamp);
    if (!stale.empty()) arch::flush_tlb(stale);
}

}  // namespace

bool PageInfo::first_writable_type(uint64_t now) {
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

void PageInfo::last_simple_type(uint64_t now) {
    uint64_t next;
    do {
        invariant((now & kTypeCountMask) != 0, "a type reference is dropped that nobody holds");
        next = now - 1;
        if ((next & kTypeCountMask) == 0)
            next = (next & kTypeMask) | (uint64_t{arch::tlb_flush_stamp()} << kAuxShift);
    } while (!type.compare_exchange_weak(now, next, std::memory_order_acq_rel,
                                         std::memory_order_acquire));
}

Result<WritablePageRef> WritablePageRef::take(Mfn mfn, DomId owner) {
    PageRef page = TRY(PageRef::take(mfn, owner));
    if (page->has(PageInfo::kReadOnly) || !page->get_writable_type()) return Errno::kEINVAL;
    WritablePageRef r;
    r.ref_ = static_cast<PageRef&&>(page);
    return r;
}

}  // namespace hv
