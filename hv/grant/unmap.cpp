// GNTTABOP_unmap_grant_ref, GNTTABOP_unmap_and_replace, and the unmapping of all a domain has.
//
// In two halves: first the page-table entries of a whole batch go; then one TLB flush; only then
// are the granters told (their marks cleared) and the frames' references dropped. In between the
// frames still belong to the mapping, so nobody reuses what a CPU may still reach.
#include <algorithm>
#include <cstddef>

#include "arch/cpu.hpp"
#include "hv/console/trace.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/ops.hpp"
#include "hv/grant/pin.hpp"
#include "hv/hypercall/guest_element.hpp"

namespace hv::grant {
namespace {

constexpr uint32_t kBatch = 32;  // one flush each; the records live on the stack

/// A mapping that has left the page tables, until its references may be dropped. Trivial, as a
/// batch has 32 of them. It stands still that long, and so does the entry that it keeps pinned.
struct Undone {
    Mapping* mapping;
    ActiveEntry* entry;
    uint32_t handle;
    uint16_t kinds;
    Access access;
};

struct Request {
    uint64_t host_address;
    uint64_t new_address;  ///< unmap_and_replace: what to put in its place
    uint64_t bus_address;
    uint32_t handle;
};

Access access_of(uint32_t flags) {
    return flags & GNTMAP_readonly ? Access::kRead : Access::kWrite;
}

/// First half: takes the mapping out of the page tables of the current domain, if it is in them.
/// `undone.kinds` says what is left to finish, perhaps nothing.
[[gnu::always_inline]] inline Status begin_unmap(Maptrack& maptrack, const Request& request,
                                                 Undone& undone) {
    uint32_t kinds = 0;
    if (request.host_address) kinds |= GNTMAP_host_map;
    if (request.bus_address) kinds |= GNTMAP_device_map;
    uint32_t flags;
    undone.kinds = 0;
    Mapping* mapping = maptrack.claim(request.handle, kinds, kinds, flags);
    if (!mapping) return GNTST_bad_handle;
    if (!kinds) return GNTST_okay;  // named no address of a kind that it has

    // No lock: what we claimed keeps the entry pinned, and a pinned entry's frame does not change.
    ActiveEntry& entry = mapping->granter->active(mapping->ref);
    Status status = GNTST_okay;
    if ((kinds & GNTMAP_device_map) && request.bus_address != address_of(entry.frame))
        status = GNTST_bad_dev_addr;
    else if ((kinds & GNTMAP_host_map) &&
             !arch::unmap_grant(request.host_address, entry.frame, flags & GNTMAP_readonly,
                                flags & 0xffff, request.new_address))
        status = GNTST_general_error;
    if (status != GNTST_okay) [[unlikely]] {
        Maptrack::unclaim(*mapping, kinds);
        return status;
    }
    trace::event(TRC_MEM_PAGE_GRANT_UNMAP, mapping->granter->domain.id.raw());
    undone = {mapping, &entry, request.handle, static_cast<uint16_t>(kinds), access_of(flags)};
    return GNTST_okay;
}

/// Second half, after the flush.
[[gnu::always_inline]] inline void finish_unmap(Maptrack& maptrack, const Undone& undone) {
    GrantTable& table = *undone.mapping->granter;
    const uint32_t ref = undone.mapping->ref;
    PageInfo& page = page_of(undone.entry->frame);
    const bool both = undone.kinds == Maptrack::kKinds;
    const bool handle_freed = maptrack.finish(undone.handle, *undone.mapping, undone.kinds);
    if (both) [[unlikely]] {
        unpin(table, ref, *undone.entry, undone.access);
        put_page(page, undone.access);
    }
    unpin(table, ref, *undone.entry, undone.access);
    put_page(page, undone.access);
    if (handle_freed) table.drop_handle();
}

Request request_of(const gnttab_unmap_grant_ref& op) {
    return {op.host_addr, 0, op.dev_bus_addr, op.handle};
}
Request request_of(const gnttab_unmap_and_replace& op) {
    return {op.host_addr, op.new_addr, 0, op.handle};
}

/// Up to kBatch elements from `first` on; false if the guest's memory failed, and then what was
/// done is finished.
template <class Op>
[[gnu::always_inline]] inline bool unmap_some(Domain& mapper, GuestAddress ops, uint32_t first,
                                              uint32_t count) {
    Undone undone[kBatch];
    Undone* end = undone;
    Maptrack& maptrack = mapper.grants->maptrack;
    bool reached = true;
    for (uint32_t i = first; i < first + count; ++i) {
        GuestElement<Op> element(ops, i);
        Op op;
        reached = element.fetch(op);
        if (!reached) [[unlikely]]
            break;
        op.status = begin_unmap(maptrack, request_of(op), *end);
        if (end->kinds) ++end;
        reached = element.template store<offsetof(Op, status), offsetof(Op, status) + 2>(op);
        if (!reached) [[unlikely]]
            break;
    }
    if (end == undone) return reached;
    arch::flush_tlb(mapper.dirty_cpus.snapshot());
    for (const Undone* one = undone; one < end; ++one) finish_unmap(maptrack, *one);
    return reached;
}

template <class Op, uint32_t kCommand>
Outcome unmap_all(Batch batch) {
    Domain& mapper = *arch::current().domain;
    for (uint32_t done = 0; done < batch.count;) {
        const uint32_t some = std::min(kBatch, batch.count - done);
        if (!unmap_some<Op>(mapper, batch.address, done, some)) return Errno::kEFAULT;
        done += some;
        if (done < batch.count && preempt_requested())
            return batch.continue_after(done, kCommand, sizeof(Op));
    }
    return Outcome{};
}

}  // namespace

Outcome unmap_batch(Batch batch) {
    return unmap_all<gnttab_unmap_grant_ref, GNTTABOP_unmap_grant_ref>(batch);
}

Outcome unmap_and_replace_batch(Batch batch) {
    return unmap_all<gnttab_unmap_and_replace, GNTTABOP_unmap_and_replace>(batch);
}

bool release_mappings(Domain& domain) {
    if (!domain.grants) return false;
    Maptrack& maptrack = domain.grants->maptrack;
    // Its vCPUs are off their CPUs for good, and its page tables go next: nothing to unmap there.
    for (uint32_t& handle = maptrack.release_cursor; handle < maptrack.handle_limit();) {
        uint32_t kinds;
        uint32_t flags;
        if (Mapping* mapping = maptrack.claim(handle, Maptrack::kKinds, kinds, flags)) {
            ActiveEntry& entry = mapping->granter->active(mapping->ref);
            finish_unmap(maptrack,
                         {mapping, &entry, handle, static_cast<uint16_t>(kinds), access_of(flags)});
        }
        ++handle;
        if (handle % kBatch == 0 && preempt_requested()) return true;
    }
    return false;
}

}  // namespace hv::grant
