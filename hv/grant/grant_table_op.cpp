// HYPERVISOR_grant_table_op: which operation, and how many elements of it.
#include "hv/grant/ops.hpp"
#include "hv/hypercall/handlers.hpp"

namespace hv {

Outcome do_grant_table_op(uint64_t command, uint64_t argument, uint64_t count, uint64_t, uint64_t) {
    // The ABI's count is an unsigned int, and one that is negative as an int is refused.
    if (static_cast<int32_t>(count) < 0) return Errno::kEINVAL;
    const grant::Batch batch{GuestAddress(argument), static_cast<uint32_t>(count)};
    const auto op = static_cast<uint32_t>(command);
    // By far the most frequent, so they are not looked for among the others.
    if (op == GNTTABOP_copy) return grant::copy_batch(batch);
    if (op == GNTTABOP_map_grant_ref) return grant::map_batch(batch);
    if (op == GNTTABOP_unmap_grant_ref) return grant::unmap_batch(batch);
    switch (op) {
        case GNTTABOP_unmap_and_replace:
            return grant::unmap_and_replace_batch(batch);
        case GNTTABOP_transfer:
            return grant::transfer_batch(batch);
        case GNTTABOP_cache_flush:
            return grant::cache_flush_batch(batch);
        case GNTTABOP_setup_table:
            return grant::setup_table(batch);
        case GNTTABOP_query_size:
            return grant::query_size(batch);
        case GNTTABOP_get_version:
            return grant::get_version(batch);
        case GNTTABOP_set_version:
            return grant::set_version(batch);
        case GNTTABOP_get_status_frames:
            return grant::get_status_frames(batch);
        case GNTTABOP_swap_grant_ref:
            return grant::swap_batch(batch);
        default:  // GNTTABOP_dump_table among them, as in stock Xen
            return Errno::kENOSYS;
    }
}

}  // namespace hv
