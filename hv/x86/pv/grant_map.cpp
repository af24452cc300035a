// Grant mappings in a PV domain's own page tables (hv/grant/grant.hpp, namespace arch). The entry
// takes references of its own on the frame, like any other: if the guest overwrites it without
// telling the grant table, nothing is lost but its own mapping.
#include <cstdint>

#include <xen/xen.h>
// after xen.h, whose types it uses
#include <xen/grant_table.h>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/grant.hpp"
#include "hv/x86/pv/leaf.hpp"
#include "hv/x86/pv/mmu.hpp"

namespace hv::arch {
namespace {

using paging::Entry;

/// An L1 entry (null: there is none), and its table where that is held meanwhile.
struct Slot {
    Entry* entry;
    PageInfo* table;
};

/// The entry at a machine address: in a table of the domain's that is checked.
[[gnu::noinline]] Slot find_slot_by_machine_address(const Domain& domain, uint64_t address) {
    PageInfo* table = address & 7 ? nullptr : page_info(mfn_of(address));
    if (!table || !table->get(domain.id)) return {};
    const uint64_t word = table->type.load();
    if (table->page_type() == PageType::kL1 && (word & PageInfo::kValidated))
        return {machine_to_virt<Entry>(address), table};
    table->put();
    return {};
}

/// The L1 entry that the caller names: by machine address, or by the address it maps.
[[gnu::always_inline]] inline Slot find_slot(const Domain& domain, uint64_t host_address,
                                             uint32_t flags) {
    if (flags & GNTMAP_contains_pte) [[unlikely]]
        return find_slot_by_machine_address(domain, host_address);
    return {pv::find_leaf(current(), host_address), nullptr};
}

Entry grant_entry(Mfn frame, bool read_only, uint32_t flags) {
    uint64_t bits = Entry::kPresent | Entry::kAccessed | Entry::kDirty | Entry::kNoExecute;
    if (!read_only) bits |= Entry::kWrite;
    if (flags & GNTMAP_application_map) bits |= Entry::kUser;
    bits |= uint64_t{flags >> _GNTMAP_guest_avail0} << 52 & ~Entry::kGuestKernel;
    return Entry(frame, bits);
}

DomId owner_of(Mfn frame) {
    const PageInfo* page = page_info(frame);
    const Result<DomId> owner = page ? page->owner() : Result<DomId>(Errno::kESRCH);
    return owner.value_or(DomId{DOMID_INVALID});
}

/// References for an entry that maps a frame, of which the caller holds the same ones.
[[gnu::always_inline]] inline bool take_again(PageInfo& page, bool read_only) {
    if (!page.get_again()) [[unlikely]]
        return false;
    if (read_only || page.get_writable_type()) [[likely]]
        return true;
    page.put();
    return false;
}

/// Whether the entry maps the frame of a grant, with that access.
[[gnu::always_inline]] inline bool maps(Entry e, Mfn frame, bool read_only) {
    constexpr uint64_t kMatters = Entry::kAddress | Entry::kPresent | Entry::kWrite;
    const Entry mapping(frame, Entry::kPresent | (read_only ? 0 : Entry::kWrite));
    return (e.raw() & kMatters) == mapping.raw();
}

/// Takes the entry away if it maps the grant; the references go with it.
[[gnu::always_inline]] inline bool clear_entry(Entry* entry, Mfn frame, bool read_only) {
    // The very entry that was looked at goes: another vCPU may be changing it.
    for (;;) {
        const Entry now = pv::read_entry(entry);
        if (!maps(now, frame, read_only)) [[unlikely]]
            return false;
        if (pv::exchange_entry(entry, now, Entry(), false)) [[likely]]
            break;
    }
    PageInfo& page = page_of(frame);  // the caller's references keep it
    if (!read_only) page.put_simple_type();
    page.put();
    return true;
}

/// What stands at `new_address` goes into `entry`, and leaves its place. Nobody else may change
/// either of the two meanwhile.
Result<> move_entry(const Domain& domain, Entry* entry, uint64_t new_address) {
    Entry* source = pv::find_leaf(current(), new_address);
    if (!source) return Errno::kEINVAL;
    const Entry replacement = *source;
    const DomId owner = replacement.present() ? owner_of(replacement.mfn()) : domain.id;
    TRY(pv::replace_leaf(domain, owner, entry, replacement, false));
    return pv::replace_leaf(domain, domain.id, source, Entry(), false);
}

/// unmap_grant() with another entry in its place.
[[gnu::noinline]] Result<> replace_grant(uint64_t host_address, Mfn frame, bool read_only,
                                         uint32_t gntmap_flags, uint64_t new_address) {
    const Domain& domain = *current().domain;
    AloneGuard guard(current().domain->arch.paging_lock);
    const Slot slot = find_slot(domain, host_address, gntmap_flags);
    if (!slot.entry) return Errno::kEINVAL;
    const Result<> result = maps(pv::read_entry(slot.entry), frame, read_only)
                                ? move_entry(domain, slot.entry, new_address)
                                : Result<>{Errno::kEINVAL};
    if (slot.table) slot.table->put();
    return result;
}

}  // namespace

Result<> map_grant(uint64_t host_address, Mfn frame, bool read_only, uint32_t gntmap_flags) {
    const Domain& domain = *current().domain;
    const Entry wanted = paging::adjust_guest_leaf(grant_entry(frame, read_only, gntmap_flags));
    LeavesGuard guard(current().domain->arch.paging_lock, lock_stripe());
    const Slot slot = find_slot(domain, host_address, gntmap_flags);
    if (!slot.entry) return Errno::kEINVAL;
    const bool taken = take_again(page_of(frame), read_only);
    if (taken) [[likely]] {
        // Whether the processor saw the old page accessed or dirty is of no matter.
        const Entry old(__atomic_exchange_n(reinterpret_cast<uint64_t*>(slot.entry), wanted.raw(),
                                            __ATOMIC_SEQ_CST));
        if (old.present()) pv::put_leaf(old);
    }
    if (slot.table) slot.table->put();
    return taken ? Result<>{} : Result<>{Errno::kEBUSY};
}

Result<> unmap_grant(uint64_t host_address, Mfn frame, bool read_only, uint32_t gntmap_flags,
                     uint64_t new_address) {
    if (new_address) [[unlikely]]
        return replace_grant(host_address, frame, read_only, gntmap_flags, new_address);
    const Domain& domain = *current().domain;
    LeavesGuard guard(current().domain->arch.paging_lock, lock_stripe());
    const Slot slot = find_slot(domain, host_address, gntmap_flags);
    if (!slot.entry) return Errno::kEINVAL;
    const bool cleared = clear_entry(slot.entry, frame, read_only);
    if (slot.table) slot.table->put();
    return cleared ? Result<>{} : Result<>{Errno::kEINVAL};
}

#ifdef XENOLITH_HOST
// Else in line (arch/guest_frame.hpp): tests that bring their own do not link this file.
Result<Mfn> guest_frame_to_mfn(Domain&, Gfn gfn) {
    return Mfn{gfn.raw()};
}
#endif

}  // namespace hv::arch
