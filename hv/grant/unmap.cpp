// GNTTABOP_unmap_grant_ref, GNTTABOP_unmap_and_replace, and the unmapping of all a domain has.
//
// In two halves: first the page-table entries of a whole batch go; then one TLB flush; only then
// are the granters told (their marks cleared) and the frames' references dropped. In between the
// frames still belong to the mapping, so nobody reuses what a CPU may still reach.
#include <algorithm>

#include "arch/cpu.hpp"
#include "hv/console/trace.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/ops.hpp"

namespace hv::grant {
namespace {

constexpr uint32_t kBatch = 32;  // one flush each; the records live on the stack

/// A mapping that has left the page tables, until its references may be dropped. Trivial, as a
/// batch has 32 of them.
struct Undone {
    GrantTable* granter;
    PageInfo* page;
    uint32_t ref;
    uint32_t handle;
    uint32_t kinds;
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
    const Mapping* mapping = maptrack.claim(request.handle, kinds, kinds, flags);
    if (!mapping) return GNTST_bad_handle;
    if (!kinds) return GNTST_okay;  // named no address of a kind that it has

    // No lock: what we claimed keeps the entry pinned, and a pinned entry's frame does not change.
    const Mfn frame = mapping->granter->active(mapping->ref).frame;
    Status status = GNTST_okay;
    if ((kinds & GNTMAP_device_map) && request.bus_address != address_of(frame))
        status = GNTST_bad_dev_addr;
    else if ((kinds & GNTMAP_host_map) &&
             !arch::unmap_grant(request.host_address, frame, flags & GNTMAP_readonly,
                                flags & 0xffff, request.new_address))
        status = GNTST_general_error;
    if (status != GNTST_okay) {
        maptrack.unclaim(request.handle, kinds);
        return status;
    }
    trace::event(TRC_MEM_PAGE_GRANT_UNMAP, mapping->granter->domain.id.raw());
    undone = {mapping->granter, page_info(frame), mapping->ref, request.handle, kinds,
              access_of(flags)};
    return GNTST_okay;
}

/// Second half, after the flush.
[[gnu::always_inline]] inline void finish_unmap(Maptrack& maptrack, const Undone& undone) {
    GrantTable& table = *undone.granter;
    const bool both = undone.kinds == Maptrack::kKinds;
    const bool handle_freed = maptrack.finish(undone.handle, undone.kinds);
    bool last = false;
    {
        LockGuard guard(table.lock);
        unpin(table, undone.ref, undone.access);
        if (both) unpin(table, undone.ref, undone.access);
        if (handle_freed) last = --table.mapped_handles == 0;
    }
    put_page(*undone.page, undone.access);
    if (both) put_page(*undone.page, undone.access);
    if (last) table.domain.put();
}

Request request_of(const gnttab_unmap_grant_ref& op) {
    return {op.host_addr, 0, op.dev_bus_addr, op.handle};
}
Request request_of(const gnttab_unmap_and_replace& op) {
    return {op.host_addr, op.new_addr, 0, op.handle};
}

/// Up to kBatch elements from `first` on; kEFAULT leaves what was done finished.
template <class Op>
Result<> unmap_some(Domain& mapper, const GuestInOut<Op>& ops, uint32_t first, uint32_t count) {
    Undone undone[kBatch];
    uint32_t undone_count = 0;
    Maptrack& maptrack = mapper.grants->maptrack;
    Result<> result;
    for (uint32_t i = first; i < first + count; ++i) {
        Op op;
        result = ops.fetch(op, i);
        if (!result) break;
        Undone& record = undone[undone_count];
        op.status = begin_unmap(maptrack, request_of(op), record);
        if (record.kinds) ++undone_count;
        result = ops.store_field(op, &Op::status, i);
        if (!result) break;
    }
    if (undone_count == 0) return result;
    arch::flush_tlb(mapper.dirty_cpus.snapshot());
    for (uint32_t i = 0; i < undone_count; ++i) finish_unmap(maptrack, undone[i]);
    return result;
}

template <class Op>
Outcome unmap_all(Batch batch) {
    const GuestInOut<Op> ops(batch.address.raw());
    Domain& mapper = *arch::current().domain;
    for (uint32_t done = 0; done < batch.count;) {
        uint32_t some = std::min(kBatch, batch.count - done);
        if (auto result = unmap_some(mapper, ops, done, some); !result) return Fail{result.error()};
        done += some;
        if (done < batch.count && preempt_requested())
            return batch.continue_after(done, sizeof(Op));
    }
    return Outcome{};
}

}  // namespace

Outcome unmap_batch(Batch batch) {
    return unmap_all<gnttab_unmap_grant_ref>(batch);
}

Outcome unmap_and_replace_batch(Batch batch) {
    return unmap_all<gnttab_unmap_and_replace>(batch);
}

bool release_mappings(Domain& domain) {
    if (!domain.grants) return false;
    Maptrack& maptrack = domain.grants->maptrack;
    // Its vCPUs are off their CPUs for good, and its page tables go next: nothing to unmap there.
    for (uint32_t& handle = maptrack.release_cursor; handle < maptrack.handle_limit();) {
        uint32_t kinds;
        uint32_t flags;
        if (const Mapping* mapping = maptrack.claim(handle, Maptrack::kKinds, kinds, flags)) {
            PageInfo* page = page_info(mapping->granter->active(mapping->ref).frame);
            finish_unmap(maptrack,
                         {mapping->granter, page, mapping->ref, handle, kinds, access_of(flags)});
        }
        ++handle;
        if (handle % kBatch == 0 && preempt_requested()) return true;
    }
    return false;
}

}  // namespace hv::grant
