// Beginning and ending the use of a grant entry: what is most common in line, the rest in pin.cpp.
#pragma once

#include "arch/guest_frame.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/table.hpp"

namespace hv::grant {

/// What the granter sees of a use.
constexpr uint32_t marks(Access access) {
    return access == Access::kWrite ? GTF_reading | GTF_writing : GTF_reading;
}

// Not among GNTST_*, which are 0 and below:
inline constexpr Status kRetry = 1;
inline constexpr Status kTransitive = 2;

/// pin() in all cases, with the entry of `ref` locked. `ref` was below a count of the table's, and
/// is masked.
Status pin_any(GrantTable& table, uint32_t ref, ActiveEntry& entry, DomId user, Access access,
               Purpose purpose, Pin& pin);
/// unpin() in all cases, but for the count. The entry is locked.
void clear_marks(GrantTable& table, uint32_t ref);

/// Begins the use of an entry of version 1 that nobody uses; errors as pin(). The entry is locked
/// and `ref` checked. kRetry: it is not what `user` asks for, or it changed under our hands.
[[gnu::always_inline]] inline Status pin_unused_v1(GrantTable& table, uint32_t ref, DomId user,
                                                   Access access, ActiveEntry& entry, Pin& pin) {
    grant_entry_v1& shared = table.entry_v1(ref);
    std::atomic_ref<uint32_t> header(reinterpret_cast<uint32_t&>(shared));
    uint32_t seen = header.load(std::memory_order_relaxed);
    const uint32_t looked_at =
        0xffff0000u | GTF_type_mask | (access == Access::kWrite ? GTF_readonly : 0);
    if ((seen & looked_at) != (uint32_t{user.raw()} << 16 | GTF_permit_access)) return kRetry;
    // A full barrier: the granter fills in the frame before the flags; we read it after.
    if (!header.compare_exchange_strong(seen, seen | marks(access))) return kRetry;
    auto mfn =
        arch::guest_frame_to_mfn(table.domain, Gfn{std::atomic_ref<uint32_t>(shared.frame).load()});
    PageInfo* page = mfn ? page_info(*mfn) : nullptr;
    const Status status = take_page(page, table.domain.id, access);
    if (status != GNTST_okay) [[unlikely]] {
        clear_marks(table, ref);
        return status;
    }
    entry.frame = *mfn;
    entry.uses = ActiveEntry::one(access);
    entry.user = user.raw();
    entry.start = 0;
    entry.length = kPageSize;
    entry.is_sub_page = false;
    pin = {page, 0, kPageSize};
    return GNTST_okay;
}

/// Begins a use of entry `ref` by domain `user`: checks the entry, marks it in use for the
/// granter to see, and takes the references on its frame. No lock held.
/// GNTST_bad_gntref: no such entry; _general_error: it does not permit this; _bad_page: it names no
/// frame of the granter's; _bad_domain: the granter is dying. kTransitive: to be copied from or to,
/// and it leads on to another domain's.
[[gnu::always_inline]] inline Status pin(GrantTable& table, uint32_t ref, DomId user, Access access,
                                         Purpose purpose, Pin& pin) {
    const uint32_t count = table.entry_count();
    if (ref >= count) [[unlikely]]
        return GNTST_bad_gntref;
    ref = static_cast<uint32_t>(base::index_nospec(ref, count));
    ActiveEntry& entry = table.active(ref);
    EntryGuard guard(entry);
    if (table.version == 1 && !entry.pinned() &&
        table.domain.dying.load(std::memory_order_relaxed) == Dying::kAlive) [[likely]] {
        const Status status = pin_unused_v1(table, ref, user, access, entry, pin);
        if (status != kRetry) [[likely]]
            return status;
    }
    return pin_any(table, ref, entry, user, access, purpose, pin);
}

/// Ends a use of `entry`, that of `ref`; the last clears the marks. No lock held; the frame's
/// references stay the caller's.
[[gnu::always_inline]] inline void unpin(GrantTable& table, uint32_t ref, ActiveEntry& entry,
                                         Access access) {
    EntryGuard guard(entry);
    entry.uses -= ActiveEntry::one(access);
    if (table.version == 1 && !entry.pinned()) [[likely]]
        table.header_v1(ref).fetch_and(~marks(Access::kWrite));  // as in clear_marks()
    else
        clear_marks(table, ref);
}
[[gnu::always_inline]] inline void unpin(GrantTable& table, uint32_t ref, Access access) {
    unpin(table, ref, table.active(ref), access);
}

}  // namespace hv::grant
