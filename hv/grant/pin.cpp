// Beginning and ending the use of a grant entry, in all cases.
#include "hv/grant/pin.hpp"

namespace hv::grant {
namespace {

/// How often a granter may change its entry under our hands before we refuse it.
constexpr int kAttempts = 5;

struct Header {
    uint32_t word;
    uint32_t flags() const { return word & 0xffff; }
    DomId domain() const { return DomId{static_cast<uint16_t>(word >> 16)}; }
};

/// Whether an entry as it stands lets `user` do that.
bool permits(Header entry, DomId user, Access access, Purpose purpose, uint8_t version) {
    const uint32_t type = purpose == Purpose::kFollow ? GTF_transitive : GTF_permit_access;
    if ((entry.flags() & GTF_type_mask) != type || entry.domain() != user) return false;
    // Parts of pages can only be copied.
    if (version == 2 && purpose == Purpose::kMap && (entry.flags() & GTF_sub_page)) return false;
    return access == Access::kRead || !(entry.flags() & GTF_readonly);
}

/// Version 1: the marks are in the flags, entered with the same word that was checked.
inline Status mark_v1(grant_entry_v1& entry, DomId user, Access access, Purpose purpose) {
    std::atomic_ref<uint32_t> header(reinterpret_cast<uint32_t&>(entry));
    Header seen{header.load(std::memory_order_relaxed)};
    for (int i = 0; i < kAttempts; ++i) {
        if (!permits(seen, user, access, purpose, 1)) return GNTST_general_error;
        // A full barrier: the granter fills in the frame before the flags; we read it after.
        if (header.compare_exchange_strong(seen.word, seen.word | marks(access))) return GNTST_okay;
    }
    return GNTST_general_error;
}

}  // namespace

void clear_marks(GrantTable& table, uint32_t ref) {
    const ActiveEntry& entry = table.active(ref);
    uint32_t clear = 0;
    if (!entry.writers()) clear |= GTF_writing;
    if (!entry.pinned()) clear |= GTF_reading;
    if (!clear) return;
    // Locked, as the granter changes flags at the same time; and after all that we did through
    // the grant, since the granter may use the frame otherwise from here on.
    if (table.version == 1)
        table.header(ref).fetch_and(~clear);
    else
        std::atomic_ref<uint16_t>(table.status_v2(ref)).fetch_and(static_cast<uint16_t>(~clear));
}

namespace {

/// Version 2: the marks are in the status frame, so the entry is checked, marked, checked again.
/// `seen` is what it was the last time.
Status mark_v2(GrantTable& table, uint32_t ref, DomId user, Access access, Purpose purpose,
               Header& seen) {
    auto header = table.header(ref);
    seen = Header{header.load()};
    if (!permits(seen, user, access, purpose, 2)) return GNTST_general_error;
    // A full barrier: a granter that revokes either sees the mark, or we see what it did.
    std::atomic_ref<uint16_t>(table.status_v2(ref)).fetch_or(static_cast<uint16_t>(marks(access)));
    seen = Header{header.load()};
    if (permits(seen, user, access, purpose, 2)) return GNTST_okay;
    clear_marks(table, ref);
    return GNTST_general_error;
}

/// What a version 2 entry names, read once, now that it is marked; `seen` is what was checked.
Gfn read_target_v2(grant_entry_v2& shared, Header seen, ActiveEntry& entry) {
    entry.is_sub_page = seen.flags() & GTF_sub_page;
    entry.start = 0;
    entry.length = kPageSize;
    if (entry.is_sub_page) {
        entry.start = std::atomic_ref<uint16_t>(shared.sub_page.page_off).load();
        entry.length = std::atomic_ref<uint16_t>(shared.sub_page.length).load();
    }
    return Gfn{std::atomic_ref<uint64_t>(shared.full_page.frame).load()};
}

/// Checks and marks the entry, and on its first use notes what it names. An entry that nobody
/// uses yet may be written before that is certain.
inline Status begin_use(GrantTable& table, uint32_t ref, DomId user, Access access, Purpose purpose,
                        ActiveEntry& entry, bool first) {
    Gfn frame;
    if (table.version == 1) [[likely]] {
        grant_entry_v1& shared = table.entry_v1(ref);
        const Status status = mark_v1(shared, user, access, purpose);
        if (status != GNTST_okay || !first) return status;
        frame = Gfn{std::atomic_ref<uint32_t>(shared.frame).load()};
        entry.start = 0;
        entry.length = kPageSize;
        entry.is_sub_page = false;
    } else {
        Header seen{};
        const Status status = mark_v2(table, ref, user, access, purpose, seen);
        if (status != GNTST_okay || !first) return status;
        frame = read_target_v2(table.entry_v2(ref), seen, entry);
    }
    entry.user = user.raw();
    auto mfn = arch::guest_frame_to_mfn(table.domain, frame);
    if (!mfn) {
        clear_marks(table, ref);
        return GNTST_bad_page;
    }
    entry.frame = *mfn;
    return GNTST_okay;
}

bool is_transitive(GrantTable& table, uint32_t ref) {
    return table.version == 2 && (table.header(ref).load() & GTF_type_mask) == GTF_transitive;
}

}  // namespace

Status pin_any(GrantTable& table, uint32_t ref, ActiveEntry& entry, DomId user, Access access,
               Purpose purpose, Pin& pin) {
    // The version may be another than when `ref` was looked at, and then there are fewer entries.
    const uint32_t count = table.entry_count();
    if (ref >= count) return GNTST_bad_gntref;
    ref = static_cast<uint32_t>(base::index_nospec(ref, count));
    if (purpose == Purpose::kCopy && is_transitive(table, ref)) return kTransitive;
    if (table.domain.dying.load(std::memory_order_relaxed) != Dying::kAlive)
        return GNTST_bad_domain;

    const bool first = !entry.pinned();
    if (!first && (entry.user != user.raw() || entry.is_full(access) ||
                   (purpose == Purpose::kMap && entry.is_sub_page)))
        return GNTST_general_error;
    if (first || (access == Access::kWrite && !entry.writers())) {
        const Status status = begin_use(table, ref, user, access, purpose, entry, first);
        if (status != GNTST_okay) return status;
    }
    PageInfo* page = page_info(entry.frame);
    const Status status = take_page(page, table.domain.id, access);
    if (status != GNTST_okay) {
        clear_marks(table, ref);
        return status;
    }
    entry.uses += ActiveEntry::one(access);
    const uint32_t end = uint32_t{entry.start} + entry.length;
    pin = {page, entry.start, end < kPageSize ? end : uint32_t{kPageSize}};
    return GNTST_okay;
}

Status pin_to_follow(GrantTable& table, uint32_t ref, DomId user, Access access, Via& via) {
    const uint32_t count = table.entry_count();
    if (ref >= count) return GNTST_general_error;
    ref = static_cast<uint32_t>(base::index_nospec(ref, count));
    ActiveEntry& entry = table.active(ref);
    EntryGuard guard(entry);
    // Nothing was locked since pin() said that it is transitive: all may be otherwise.
    const uint32_t now = table.entry_count();
    if (table.version != 2 || ref >= now) return GNTST_general_error;
    ref = static_cast<uint32_t>(base::index_nospec(ref, now));
    const bool first = !entry.pinned();
    if (!first && (entry.user != user.raw() || entry.is_full(access))) return GNTST_general_error;
    Header seen{};
    const Status status = mark_v2(table, ref, user, access, Purpose::kFollow, seen);
    if (status != GNTST_okay) return status;
    grant_entry_v2& shared = table.entry_v2(ref);
    via = {DomId{std::atomic_ref<uint16_t>(shared.transitive.trans_domid).load()},
           std::atomic_ref<uint32_t>(shared.transitive.gref).load()};
    if (via.domain == table.domain.id) {  // must lead away, or a chain could lead in circles
        clear_marks(table, ref);
        return GNTST_general_error;
    }
    if (first) {
        entry.user = user.raw();
        entry.frame = kInvalidMfn;
        entry.is_sub_page = true;  // which keeps it from being mapped
    }
    entry.uses += ActiveEntry::one(access);
    return GNTST_okay;
}

Status pin_again(GrantTable& table, uint32_t ref, Access access, PageInfo& page) {
    ActiveEntry& entry = table.active(ref);
    EntryGuard guard(entry);
    if (entry.is_full(access)) return GNTST_general_error;
    Status status = take_page(&page, table.domain.id, access);
    if (status == GNTST_okay) entry.uses += ActiveEntry::one(access);
    return status;
}

}  // namespace hv::grant
