// GNTTABOP_copy: bytes from one frame to another, each named by a grant or as a frame of the
// caller's own.
//
// Neighbouring elements mostly use the same frames (a packet in pieces), so both ends stay open
// from one element to the next until something else is named.
#include <cstddef>
#include <cstring>

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/copy_end.hpp"
#include "hv/grant/ops.hpp"
#include "hv/hypercall/guest_element.hpp"

namespace hv::grant {
namespace {

using Source = CopyEnd<Access::kRead>;
using Destination = CopyEnd<Access::kWrite>;

inline Status copy_one(const gnttab_copy& op, Source& from, Destination& to) {
    Status status = from.open(op.source, op.flags & GNTCOPY_source_gref);
    if (status != GNTST_okay) return status;
    status = to.open(op.dest, op.flags & GNTCOPY_dest_gref);
    if (status != GNTST_okay) return status;

    const uint32_t length = op.len;
    if (op.source.offset + length > kPageSize || op.dest.offset + length > kPageSize)
        return GNTST_bad_copy_arg;
    if (!from.covers(op.source.offset, length) || !to.covers(op.dest.offset, length))
        return GNTST_general_error;
    // Source and destination may be one frame, and overlap.
    if (length) memmove(to.at(op.dest.offset), from.at(op.source.offset), length);
    return GNTST_okay;
}

}  // namespace

Outcome copy_batch(Batch batch) {
    using Op = gnttab_copy;
    Domain& caller = *arch::current().domain;
    Source from(caller);
    Destination to(caller);
    for (uint32_t i = 0; i < batch.count; ++i) {
        if (i % kElementsPerLook == kElementsPerLook - 1 && preempt_requested())
            return batch.continue_after(i, sizeof(Op));
        GuestElement<Op> element(batch.address, i);
        Op op;
        if (!element.fetch(op)) return Errno::kEFAULT;
        op.status = copy_one(op, from, to);
        if (op.status != GNTST_okay) [[unlikely]] {
            from.close();
            to.close();
        }
        if (!element.store<offsetof(Op, status), offsetof(Op, status) + sizeof(op.status)>(op))
            return Errno::kEFAULT;
    }
    return Outcome{};
}

}  // namespace hv::grant
