// GNTTABOP_unmap_grant_ref, GNTTABOP_unmap_and_replace, and the unmapping of all a domain has.
//
// In two halves: first the page-table entries of a whole batch go; then one TLB flush; only then
// are the granters told (their marks cleared) and the frames' references dropped. In between the
// frames still belong to the mapping, so nobody reuses what a CPU may still reach.
#include <algorithm>

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/ops.hpp"

namespace hv::grant {
namespace {

constexpr uint32_t kBatch = 32;  // one flush each; the records live on the stack

/// A mapping that has left the page tables, until its references may be dropped.
struct Undone {
    GrantTable* granter = nullptr;
    uint32_t ref = 0;
    uint32_t handle = 0;
    uint16_t kinds = 0;  ///< 0: nothing was undone
    Access access = Access::kRead;
};

struct Request {
    uint64_t host_address;
    uint64_t new_address;  ///< unmap_and_replace: what to put in its place
    uint64_t bus_address;
    uint32_t handle;
};

Access access_of(const Mapping& mapping) {
    return mapping.flags & GNTMAP_readonly ? Access::kRead : Access::kWrite;
}

/// First half: takes the mapping out of the page tables of the current domain.
Status begin_unmap(Domain& mapper, const Request& request, Undone& undone) {
    uint16_t kinds = 0;
    if (request.host_address) kinds |= GNTMAP_host_map;
    if (request.bus_address) kinds |= GNTMAP_device_map;
    Maptrack& maptrack = mapper.grants->maptrack;
    auto mapping = maptrack.claim(request.handle, kinds);
    if (!mapping) return GNTST_bad_handle;
    if (!mapping->held) return GNTST_okay;  // named no address of a kind that it has

    // No lock: what we claimed keeps the entry pinned, and a pinned entry's frame does not change.
    Mfn frame = mapping->granter->active(mapping->ref).frame;
    Status status = GNTST_okay;
    if ((mapping->held & GNTMAP_device_map) && request.bus_address != address_of(frame))
        status = GNTST_bad_dev_addr;
    if (status == GNTST_okay && (mapping->held & GNTMAP_host_map) &&
        !arch::unmap_grant(request.host_address, frame, mapping->flags & GNTMAP_readonly,
                           mapping->flags, request.new_address))
        status = GNTST_general_error;
    if (status != GNTST_okay) {
        maptrack.unclaim(request.handle, mapping->held);
        return status;
    }
    undone = {mapping->granter, mapping->ref, request.handle, mapping->held,
              access_of(*mapping)};
    return GNTST_okay;
}

/// Second half, after the flush.
void finish_unmap(Maptrack& maptrack, const Undone& undone) {
    if (!undone.kinds) return;
    GrantTable& table = *undone.granter;
    bool both = undone.kinds == (GNTMAP_host_map | GNTMAP_device_map);
    bool handle_freed = maptrack.finish(undone.handle, undone.kinds);
    bool last = false;
    PageInfo* page;
    {
        LockGuard guard(table.lock);
        page = page_info(table.active(undone.ref).frame);
        unpin(table, undone.ref, undone.access);
        if (both) unpin(table, undone.ref, undone.access);
        if (handle_freed) last = --table.mapped_handles == 0;
    }
    put_page(*page, undone.access);
    if (both) put_page(*page, undone.access);
    if (last) table.domain.put();
}

void flush_and_finish(Domain& mapper, const Undone* undone, uint32_t count) {
    bool any = std::any_of(undone, undone + count, [](auto& u) { return u.kinds != 0; });
    if (!any) return;
    arch::flush_tlb(mapper.dirty_cpus.snapshot());
    for (uint32_t i = 0; i < count; ++i) finish_unmap(mapper.grants->maptrack, undone[i]);
}

Request request_of(const gnttab_unmap_grant_ref& op) {
    return {op.host_addr, 0, op.dev_bus_addr, op.handle};
}
Request request_of(const gnttab_unmap_and_replace& op) {
    return {op.host_addr, op.new_addr, 0, op.handle};
}

/// Up to kBatch elements from `first` on; kEFAULT leaves what was done finished.
template <class Op>
Result<> unmap_some(Domain& mapper, GuestInOut<Op> ops, uint32_t first, uint32_t count) {
    Undone undone[kBatch];
    Result<> result;
    uint32_t n = 0;
    for (; n < count && result; ++n) {
        undone[n].kinds = 0;
        auto op = ops.load(first + n);
        if (!op) {
            result = Fail{op.error()};
            break;
        }
        op->status = begin_unmap(mapper, request_of(*op), undone[n]);
        if (!ops.store_field(*op, &Op::status, first + n)) result = Fail{Errno::kEFAULT};
    }
    flush_and_finish(mapper, undone, n);
    return result;
}

template <class Op>
Outcome unmap_all(const Batch& batch) {
    GuestInOut<Op> ops(batch.address.raw());
    Domain& mapper = *arch::current().domain;
    for (uint32_t done = 0; done < batch.count;) {
        uint32_t some = std::min(kBatch, batch.count - done);
        if (auto result = unmap_some(mapper, ops, done, some); !result)
            return Fail{result.error()};
        done += some;
        if (done < batch.count && preempt_requested())
            return batch.continue_after(done, sizeof(Op));
    }
    return Outcome{};
}

}  // namespace

Outcome unmap_batch(const Batch& batch) { return unmap_all<gnttab_unmap_grant_ref>(batch); }

Outcome unmap_and_replace_batch(const Batch& batch) {
    return unmap_all<gnttab_unmap_and_replace>(batch);
}

bool release_mappings(Domain& domain) {
    if (!domain.grants) return false;
    Maptrack& maptrack = domain.grants->maptrack;
    constexpr uint16_t kAll = GNTMAP_host_map | GNTMAP_device_map;
    // Its vCPUs are off their CPUs for good, and its page tables go next: nothing to unmap there.
    for (uint32_t& handle = maptrack.release_cursor; handle < maptrack.handle_limit();) {
        auto mapping = maptrack.claim(handle, kAll);
        if (mapping && mapping->held)
            finish_unmap(maptrack, {mapping->granter, mapping->ref, handle, mapping->held,
                                    access_of(*mapping)});
        ++handle;
        if (handle % kBatch == 0 && preempt_requested()) return true;
    }
    return false;
}

}  // namespace hv::grant
