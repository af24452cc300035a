#include "hv/x86/pv/leaf.hpp"

#include "arch/memory.hpp"
#include "hv/memory/page.hpp"
#include "hv/x86/boot/memory_map.hpp"

namespace hv::pv {

using paging::Entry;

namespace {

/// RAM has to look the same to everybody, whatever lies in whose cache, so only who drives devices
/// may say how it is cached. Of the rest most is the guest's choice: the processor ignores bits
/// 52-62 without CR4.PKE.
inline bool caching_is_allowed(const Domain& table_owner, Entry e) {
    constexpr uint64_t kCaching = Entry::kWriteThrough | Entry::kCacheDisable | Entry::kPat;
    return !(e.raw() & kCaching) || table_owner.is_hardware || !e.present();
}

/// A frame that `owner` does not have, or does not have to be written.
[[gnu::noinline]] Result<> get_other_leaf(const Domain& table_owner, Mfn mfn) {
    if (boot::is_ram(mfn)) return Errno::kEBUSY;  // another's
    // Device memory has no references: it is never freed.
    if (!arch::may_map_device_frame(table_owner, mfn)) return Errno::kEPERM;
    return {};
}

[[gnu::always_inline]] inline Result<> get_present_leaf(const Domain& table_owner, DomId owner,
                                                        Entry e) {
    PageInfo* page = page_info(e.mfn());
    if (!page || !page->get(owner)) [[unlikely]]
        return get_other_leaf(table_owner, e.mfn());
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

}  // namespace

Result<> get_leaf(const Domain& table_owner, DomId owner, Entry e) {
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
        // Same frame, same access: only flags change, and no reference does.
        constexpr uint64_t kMatters = Entry::kAddress | Entry::kPresent | Entry::kWrite;
        if (wanted.present() && !((old.raw() ^ wanted.raw()) & kMatters)) {
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

}  // namespace hv::pv
