// GNTTABOP_cache_flush: cache maintenance on a frame of the caller's or one granted to it.
#include "arch/cache.hpp"
#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/ops.hpp"

namespace hv::grant {
namespace {

/// Whether `user` has the frame in use through one of the owner's entries just now.
bool is_granted(GrantTable& owner, DomId user, Mfn frame) {
    LockGuard guard(owner.lock);
    // 32,768 entries at most, a few instructions each: bounded, and short enough.
    for (uint32_t ref = 0; ref < owner.entry_count(); ++ref) {
        ActiveEntry& entry = owner.active(ref);
        if (!entry.seems_pinned()) continue;
        EntryGuard entry_guard(entry);
        if (entry.pinned() && entry.user == user.raw() && entry.frame == frame) return true;
    }
    return false;
}

/// The frame with a reference that keeps it while its lines are flushed. kEINVAL: not RAM, or
/// another's and not granted; kEPERM: nobody's.
Result<PageRef> usable_frame(Domain& user, Mfn frame) {
    PageInfo* page = page_info(frame);
    if (!page) return Errno::kEINVAL;
    auto owner_id = page->owner();
    if (!owner_id) return Errno::kEPERM;
    PageRef held = TRY(PageRef::take(frame, *owner_id));
    if (*owner_id == user.id) return held;
    DomainRef owner = TRY(Domain::find(*owner_id));
    if (!is_granted(*owner->grants, user.id, frame)) return Errno::kEINVAL;
    return held;
}

Result<> flush_one(Domain& user, const gnttab_cache_flush& op) {
    constexpr uint32_t kOperations = GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL;
    if (op.offset >= kPageSize || op.length > kPageSize || op.offset + op.length > kPageSize ||
        (op.op & ~kOperations))
        return Errno::kEINVAL;
    if (op.length == 0 || op.op == 0) return {};
    PageRef frame = TRY(usable_frame(user, mfn_of(op.a.dev_bus_addr)));
    // Dropping lines without writing them back would show old contents, perhaps another's.
    if (op.op == GNTTAB_CACHE_INVAL) return Errno::kEOPNOTSUPP;
    const uint64_t offset = base::index_nospec(op.offset, kPageSize);
    arch::flush_cache_lines(arch::mfn_to_virt<char>(frame.mfn()) + offset, op.length);
    return {};
}

}  // namespace

Outcome cache_flush_batch(Batch batch) {
    GuestIn<gnttab_cache_flush> ops(batch.address.raw());
    Domain& user = *arch::current().domain;
    for (uint32_t i = 0; i < batch.count; ++i) {
        if (i && preempt_requested())
            return batch.continue_after(i, GNTTABOP_cache_flush, sizeof(gnttab_cache_flush));
        auto op = ops.load(i);
        if (!op) return Errno::kEFAULT;
        if (auto flushed = flush_one(user, *op); !flushed) return Fail{flushed.error()};
    }
    return Outcome{};
}

}  // namespace hv::grant
