// GNTTABOP_map_grant_ref.
//
// A mapping is pinned at the granter, entered in the page tables, and published under its handle,
// in this order, and taken back in reverse when a step fails.
#include <cstddef>

#include "arch/cpu.hpp"
#include "hv/console/log.hpp"
#include "hv/console/trace.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/table.hpp"
#include "hv/grant/ops.hpp"
#include "hv/grant/pin.hpp"
#include "hv/hypercall/guest_element.hpp"
#include "hv/policy/policy.hpp"

namespace hv::grant {
namespace {

constexpr uint32_t kKinds = Maptrack::kKinds;

/// One more use of what is pinned, for the second kind; none at all if that fails.
[[gnu::noinline]] Status pin_second_kind(GrantTable& table, uint32_t ref, Access access,
                                         PageInfo& page) {
    const Status status = pin_again(table, ref, access, page);
    if (status != GNTST_okay) {
        unpin(table, ref, access);
        put_page(page, access);
    }
    return status;
}

/// Counts the handle and pins for each kind that is asked for: each holds its own references. All
/// or nothing.
[[gnu::always_inline]] inline Status pin_kinds(GrantTable& table, DomId user,
                                               const gnttab_map_grant_ref& op, Access access,
                                               Pin& pinned) {
    if (!table.add_handle()) [[unlikely]]
        return GNTST_bad_domain;
    Status status = pin(table, op.ref, user, access, Purpose::kMap, pinned);
    if (status == GNTST_okay && (op.flags & kKinds) == kKinds) [[unlikely]]
        status = pin_second_kind(table, op.ref, access, *pinned.page);
    if (status != GNTST_okay) [[unlikely]]
        table.drop_handle();
    return status;
}

[[gnu::noinline]] void unpin_kinds(GrantTable& table, const gnttab_map_grant_ref& op, Access access,
                                   PageInfo& page) {
    const bool both = (op.flags & kKinds) == kKinds;
    unpin(table, op.ref, access);
    put_page(page, access);
    if (both) {
        unpin(table, op.ref, access);
        put_page(page, access);
    }
    table.drop_handle();
}

[[gnu::always_inline]] inline Status map_with_handle(Domain& mapper, Domain& granter,
                                                     uint32_t handle, Mapping& mapping,
                                                     gnttab_map_grant_ref& op) {
    const uint32_t flags = op.flags;
    const Access access = flags & GNTMAP_readonly ? Access::kRead : Access::kWrite;
    GrantTable& table = *granter.grants;
    Pin pinned;
    const Status status = pin_kinds(table, mapper.id, op, access, pinned);
    if (status != GNTST_okay) return status;
    const Mfn frame = mfn_of(*pinned.page);
    if ((flags & GNTMAP_host_map) &&
        !arch::map_grant(op.host_addr, frame, access == Access::kRead, flags)) [[unlikely]] {
        unpin_kinds(table, op, access, *pinned.page);
        return GNTST_general_error;
    }
    Maptrack::publish(mapping, table, op.ref, flags);
    op.dev_bus_addr = address_of(frame);
    op.handle = handle;
    trace::event(TRC_MEM_PAGE_GRANT_MAP, op.dom);
    return GNTST_okay;
}

/// On its own, so that the loop around it keeps nothing in registers that this could use.
[[gnu::noinline]] Status map_one(Domain& mapper, Domain& granter, gnttab_map_grant_ref& op) {
    if (!(op.flags & kKinds)) return GNTST_bad_gntref;
    if (!policy::check(policy::Op::kSendTo, mapper, &granter)) return GNTST_permission_denied;
    GrantTable& own = *mapper.grants;
    uint32_t handle;
    Mapping* mapping = own.maptrack.reserve(own.limits, handle);
    if (!mapping) return GNTST_no_space;
    const Status status = map_with_handle(mapper, granter, handle, *mapping, op);
    if (status != GNTST_okay) own.maptrack.abandon(handle, *mapping);
    return status;
}

}  // namespace

Outcome map_batch(Batch batch) {
    using Op = gnttab_map_grant_ref;
    Domain& mapper = *arch::current().domain;
    for (uint32_t i = 0; i < batch.count;) {
        GuestElement<Op> element(batch.address, i);
        Op op;
        if (!element.fetch(op)) return Errno::kEFAULT;
        // No reference: RCU keeps what is found until this call has ended.
        Domain* granter = domain_table::peek(DomId{op.dom});
        op.status = granter ? map_one(mapper, *granter, op) : Status{GNTST_bad_domain};
        // What is only read stays as the guest has it.
        if (!element.store<offsetof(Op, dom), sizeof(Op)>(op)) return Errno::kEFAULT;
        if (++i < batch.count && i % kElementsPerLook == 0 && preempt_requested())
            return batch.continue_after(i, GNTTABOP_map_grant_ref, sizeof(Op));
    }
    return Outcome{};
}

}  // namespace hv::grant
