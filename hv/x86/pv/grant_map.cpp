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

struct Slot {
    PageRef table;
    Entry* entry;
};

/// The L1 entry that the caller names: by machine address, or by the address it maps.
Result<Slot> find_slot(Domain& domain, uint64_t host_address, uint32_t flags) {
    if (!(flags & GNTMAP_contains_pte)) {
        Entry* entry = pv::find_leaf(current(), host_address);
        if (!entry) return Errno::kEINVAL;
        return Slot{PageRef{}, entry};
    }
    if (host_address & 7) return Errno::kEINVAL;
    PageRef table = TRY(PageRef::take(mfn_of(host_address), domain.id));
    const uint64_t word = table->type.load();
    if (table->page_type() != PageType::kL1 || !(word & PageInfo::kValidated))
        return Errno::kEINVAL;
    auto* entry = machine_to_virt<Entry>(host_address);
    return Slot{static_cast<PageRef&&>(table), entry};
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

}  // namespace

Result<> map_grant(uint64_t host_address, Mfn frame, bool read_only, uint32_t gntmap_flags) {
    Domain& domain = *current().domain;
    LockGuard guard(domain.arch.paging_lock);
    Slot slot = TRY(find_slot(domain, host_address, gntmap_flags));
    return pv::replace_leaf(domain, owner_of(frame), slot.entry,
                            grant_entry(frame, read_only, gntmap_flags), false);
}

Result<> unmap_grant(uint64_t host_address, Mfn frame, bool read_only, uint32_t gntmap_flags,
                     uint64_t new_address) {
    Domain& domain = *current().domain;
    LockGuard guard(domain.arch.paging_lock);
    Slot slot = TRY(find_slot(domain, host_address, gntmap_flags));
    const Entry now = *slot.entry;
    if (!now.present() || now.mfn() != frame || now.writable() == read_only) return Errno::kEINVAL;
    Entry replacement;
    if (new_address) {
        Entry* source = pv::find_leaf(current(), new_address);
        if (!source) return Errno::kEINVAL;
        replacement = *source;
        const DomId owner = replacement.present() ? owner_of(replacement.mfn()) : domain.id;
        TRY(pv::replace_leaf(domain, owner, slot.entry, replacement, false));
        return pv::replace_leaf(domain, domain.id, source, Entry(), false);
    }
    return pv::replace_leaf(domain, domain.id, slot.entry, replacement, false);
}

Result<Mfn> guest_frame_to_mfn(Domain&, Gfn gfn) {
    return Mfn{gfn.raw()};
}

}  // namespace hv::arch
