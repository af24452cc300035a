// GNTTABOP_copy: bytes from one frame to another, each named by a grant or as a frame of the
// caller's own.
//
// Neighbouring elements mostly use the same frames (a packet in pieces), so both ends stay open
// from one element to the next until something else is named.
#include <cstddef>
#include <cstring>

#include "arch/cpu.hpp"
#include "base/nospec.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/copy_end.hpp"
#include "hv/grant/ops.hpp"
#include "hv/hypercall/guest_element.hpp"

namespace hv::grant {
namespace {

using Source = CopyEnd<Access::kRead>;
using Destination = CopyEnd<Access::kWrite>;

/// Why an element asks for bytes that it may not have.
Status not_covered(const gnttab_copy& op) {
    const uint32_t length = op.len;
    return op.source.offset + length > kPageSize || op.dest.offset + length > kPageSize
               ? GNTST_bad_copy_arg
               : GNTST_general_error;
}

[[gnu::always_inline]] inline Status copy_one(Domain& caller, const gnttab_copy& op, Source& from,
                                              Destination& to) {
    Status status = from.open(caller, op.source, op.flags & GNTCOPY_source_gref);
    if (status != GNTST_okay) [[unlikely]]
        return status;
    status = to.open(caller, op.dest, op.flags & GNTCOPY_dest_gref);
    if (status != GNTST_okay) [[unlikely]]
        return status;
    if (!from.covers(op.source.offset, op.len) || !to.covers(op.dest.offset, op.len)) [[unlikely]]
        return not_covered(op);
    base::block_speculation();
    // Source and destination may be one frame, and overlap.
    if (op.len) memmove(to.at(op.dest.offset), from.at(op.source.offset), op.len);
    return GNTST_okay;
}

}  // namespace

Outcome copy_batch(Batch batch) {
    using Op = gnttab_copy;
    Domain& caller = *arch::current().domain;
    Source from;
    Destination to;
    for (uint32_t i = 0; i < batch.count;) {
        GuestElement<Op> element(batch.address, i);
        Op op;
        if (!element.fetch(op)) return Errno::kEFAULT;
        const Status status = copy_one(caller, op, from, to);
        if (status != GNTST_okay) [[unlikely]] {
            from.close();
            to.close();
        }
        if (!element.store_member<offsetof(Op, status)>(status)) return Errno::kEFAULT;
        if (++i < batch.count && i % kElementsPerLook == 0 && preempt_requested())
            return batch.continue_after(i, GNTTABOP_copy, sizeof(Op));
    }
    return Outcome{};
}

}  // namespace hv::grant
