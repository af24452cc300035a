// The operations of grant_table_op on one element, or on the batch where that is what counts.
// grant_table_op.cpp dispatches; each is in the file named at its side.
#pragma once

#include <cstdint>

#include <xen/xen.h>

#include <xen/grant_table.h>

#include "hv/grant/table.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/outcome.hpp"

namespace hv::grant {

/// What is left of a batch that a guest hands over: element 0 is the next one to do. Small enough
/// to be passed in registers.
struct Batch {
    GuestAddress address;
    uint32_t count;

    /// To be issued again for the elements from `done` on.
    Outcome continue_after(uint32_t done, uint32_t command, size_t element_size) const {
        return continue_with({command, address.at(done, element_size), count - done});
    }
};
static_assert(sizeof(Batch) == 16);

inline constexpr uint32_t kElementsPerLook = 16;  ///< preempt_requested() every so often

Outcome map_batch(Batch batch);    // map.cpp
Outcome unmap_batch(Batch batch);  // unmap.cpp
Outcome unmap_and_replace_batch(Batch batch);
Outcome copy_batch(Batch batch);         // copy.cpp
Outcome transfer_batch(Batch batch);     // transfer.cpp
Outcome cache_flush_batch(Batch batch);  // cache_flush.cpp
Outcome swap_batch(Batch batch);         // version.cpp
Outcome set_version(Batch batch);
Outcome setup_table(Batch batch);  // setup.cpp
Outcome get_status_frames(Batch batch);
Outcome query_size(Batch batch);
Outcome get_version(Batch batch);

}  // namespace hv::grant
