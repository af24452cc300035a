#include "hv/x86/pv/leaf.hpp"

#include "arch/memory.hpp"
#include "hv/memory/page.hpp"
#include "hv/x86/boot/memory_map.hpp"

namespace hv::pv {

using paging::Entry;

namespace {

/// What decides how an access is cached: the number that PAT, PCD and PWT form chooses a type
/// (0 WB, 1 WT, 2 UC-, 3 UC, 4 WC, 5 WP, 6 and 7 UC; cpu_init.cpp sets the MSR so).
constexpr uint64_t kCaching = Entry::kPat | Entry::kCacheDisable | Entry::kWriteThrough;

/// RAM has to look the same to everybody, whatever lies in whose cache, so only who drives devices
/// may say how it is cached. Of the rest most is the guest's choice: the processor ignores bits
/// 52-62 without CR4.PKE.
inline bool caching_is_allowed(const Domain& table_owner, Entry e) {
    return !(e.raw() & kCaching) || table_owner.is_hardware || !e.present();
}

/// A device's registers must not be cached, whatever the guest asks for.
Entry uncached(Entry e) {
    const uint64_t caching = e.raw() & kCaching;
    const bool write_combining = caching == Entry::kPat;
    if ((caching & Entry::kCacheDisable) || write_combining) return e;
    return e.without(kCaching).with(Entry::kCacheDisable | Entry::kWriteThrough);
}

/// A frame that `owner` does not have: as it may stand there.
[[gnu::noinline]] Result<Entry> get_other_leaf(const Domain& table_owner, Entry e) {
    const Mfn mfn = e.mfn();
    if (boot::is_ram(mfn)) return Errno::kEBUSY;  // another's
    // Device memory has no references: it is never freed.
    switch (arch::device_access(table_owner, mfn)) {
        case arch::DeviceAccess::kReadOnly:
            return uncached(e.without(Entry::kWrite));
        case arch::DeviceAccess::kFull:
            return uncached(e);
        case arch::DeviceAccess::kNone:
            break;
    }
    return Errno::kEPERM;
}

[[gnu::always_inline]] inline Result<> get_present_leaf(const Domain& table_owner, DomId owner,
                                                        Entry& e) {
    PageInfo* page = page_info(e.mfn());
    if (!page || !page->get(owner)) [[unlikely]] {
        e = TRY(get_other_leaf(table_owner, e));
        return {};
    }
    if (!e.writable()) return {};
    if (!page->has(PageInfo::kReadOnly) && page->get_writable_type()) [[likely]]
        return {};
    page->put();
    return Errno::kEBUSY;  // in use as a table or descriptor page
}

[[gnu::always_inline]] inline void put_present_leaf(Entry e) {
    PageInfo* page = page_info(e.mfn());
    // What is mapped has a reference from that; only device memory, which has none, has a count of
    // 0 while it is mapped.
    if (!page || !page->ref_count()) [[unlikely]]
        return;
    if (e.writable()) page->put_simple_type();
    page->put();
}

/// Same frame, same access: only flags change, and no reference does.
constexpr bool changes_flags_only(Entry old, Entry wanted) {
    constexpr uint64_t kMatters = Entry::kAddress | Entry::kPresent | Entry::kWrite | kCaching;
    return wanted.present() && !((old.raw() ^ wanted.raw()) & kMatters);
}

}  // namespace

Result<> get_leaf(const Domain& table_owner, DomId owner, Entry& e) {
    if (!caching_is_allowed(table_owner, e)) [[unlikely]]
        return Errno::kEINVAL;
    return e.present() ? get_present_leaf(table_owner, owner, e) : Result<>{};
}

void put_leaf(Entry e) {
    if (e.present()) put_present_leaf(e);
}

Result<> replace_leaf(const Domain& table_owner, DomId frame_owner, Entry* slot, Entry wanted,
                      bool preserve_ad) {
    if (!caching_is_allowed(table_owner, wanted)) [[unlikely]]
        return Errno::kEINVAL;
    wanted = paging::adjust_guest_leaf(wanted);
    for (;;) {
        const Entry old = read_entry(slot);
        if (changes_flags_only(old, wanted)) {
            if (exchange_entry(slot, old, wanted, preserve_ad)) [[likely]]
                return {};
            continue;
        }
        if (wanted.present()) TRY(get_present_leaf(table_owner, frame_owner, wanted));
        if (exchange_entry(slot, old, wanted, preserve_ad && wanted.present())) [[likely]] {
            if (old.present()) put_present_leaf(old);
            return {};
        }
        put_leaf(wanted);
    }
}

Result<> replace_leaf_if(const Domain& table_owner, DomId frame_owner, Entry* slot, Entry expected,
                         Entry wanted, bool& matched) {
    matched = read_entry(slot) == expected;
    if (!matched) return {};
    if (!caching_is_allowed(table_owner, wanted)) return Errno::kEINVAL;
    wanted = paging::adjust_guest_leaf(wanted);
    const bool flags_only = changes_flags_only(expected, wanted);
    if (!flags_only && wanted.present()) TRY(get_present_leaf(table_owner, frame_owner, wanted));
    uint64_t old = expected.raw();
    matched = __atomic_compare_exchange_n(reinterpret_cast<uint64_t*>(slot), &old, wanted.raw(),
                                          false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    if (!flags_only) put_leaf(matched ? expected : wanted);
    return {};
}

}  // namespace hv::pv
