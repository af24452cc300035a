// GNTTABOP_map_grant_ref.
//
// A mapping is pinned at the granter, entered in the page tables, and published under its handle,
// in this order, and taken back in reverse when a step fails.
#include "arch/cpu.hpp"
#include "hv/console/log.hpp"
#include "hv/console/trace.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/ops.hpp"
#include "hv/policy/policy.hpp"

namespace hv::grant {
namespace {

constexpr uint32_t kKinds = Maptrack::kKinds;

/// Pins for each kind that is asked for: each holds its own references. All or nothing.
Status pin_kinds(GrantTable& table, DomId user, const gnttab_map_grant_ref& op, Access access,
                 Pin& pinned) {
    LockGuard guard(table.lock);
    Status status = pin(table, op.ref, user, access, Purpose::kMap, pinned);
    if (status != GNTST_okay) return status;
    if ((op.flags & kKinds) == kKinds) {
        status = pin_again(table, op.ref, access, *pinned.page);
        if (status != GNTST_okay) {
            unpin(table, op.ref, access);
            put_page(*pinned.page, access);
            return status;
        }
    }
    // The first handle on our entries keeps us; the caller has a reference of its own meanwhile.
    if (table.mapped_handles++ == 0) table.domain.get();
    return GNTST_okay;
}

void unpin_kinds(GrantTable& table, const gnttab_map_grant_ref& op, Access access, Pin& pinned) {
    bool both = (op.flags & kKinds) == kKinds;
    bool last;
    {
        LockGuard guard(table.lock);
        unpin(table, op.ref, access);
        if (both) unpin(table, op.ref, access);
        last = --table.mapped_handles == 0;
    }
    put_page(*pinned.page, access);
    if (both) put_page(*pinned.page, access);
    if (last) table.domain.put();
}

Status map_with_handle(Domain& mapper, Domain& granter, uint32_t handle, gnttab_map_grant_ref& op) {
    Access access = op.flags & GNTMAP_readonly ? Access::kRead : Access::kWrite;
    GrantTable& table = *granter.grants;
    Pin pinned;
    Status status = pin_kinds(table, mapper.id, op, access, pinned);
    if (status != GNTST_okay) return status;
    if (op.flags & GNTMAP_host_map) {
        auto mapped =
            arch::map_grant(op.host_addr, pinned.frame, access == Access::kRead, op.flags);
        if (!mapped) {
            unpin_kinds(table, op, access, pinned);
            return GNTST_general_error;
        }
    }
    mapper.grants->maptrack.publish(handle, table, op.ref, op.flags);
    op.dev_bus_addr = address_of(pinned.frame);
    op.handle = handle;
    trace::event(TRC_MEM_PAGE_GRANT_MAP, op.dom);
    return GNTST_okay;
}

Status map_one(Domain& mapper, Domain& granter, gnttab_map_grant_ref& op) {
    if (!(op.flags & kKinds)) return GNTST_bad_gntref;
    if (!policy::check(policy::Op::kSendTo, mapper, &granter)) return GNTST_permission_denied;
    GrantTable& own = *mapper.grants;
    auto handle = own.maptrack.reserve(own.limits.max_maptrack_frames);
    if (!handle) return GNTST_no_space;
    Status status = map_with_handle(mapper, granter, *handle, op);
    if (status != GNTST_okay) own.maptrack.abandon(*handle);
    return status;
}

}  // namespace

Outcome map_batch(Batch batch) {
    const GuestInOut<gnttab_map_grant_ref> ops(batch.address.raw());
    gnttab_map_grant_ref op;
    Domain& mapper = *arch::current().domain;
    DomainRef granter;  // of the element before: neighbours mostly name the same domain
    for (uint32_t i = 0; i < batch.count; ++i) {
        if (i % kElementsPerLook == kElementsPerLook - 1 && preempt_requested())
            return batch.continue_after(i, sizeof(gnttab_map_grant_ref));
        if (!ops.fetch(op, i)) return Errno::kEFAULT;
        if (!granter || granter->id != DomId{op.dom}) {
            auto found = Domain::find(DomId{op.dom});
            granter = found ? std::move(*found) : DomainRef{};
        }
        op.status = granter ? map_one(mapper, *granter, op) : Status{GNTST_bad_domain};
        if (!ops.store(op, i)) return Errno::kEFAULT;
    }
    return Outcome{};
}

}  // namespace hv::grant
