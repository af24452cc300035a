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

/// What is left of a batch that a guest hands over: element 0 is the next one to do.
struct Batch {
    uint64_t command;
    GuestAddress address;
    uint32_t count;

    /// To be issued again for the elements from `done` on.
    Outcome continue_after(uint32_t done, size_t element_size) const {
        return continue_with({command, address.at(done, element_size), count - done});
    }
};
inline constexpr uint32_t kElementsPerLook = 16;  ///< preempt_requested() every so often

Outcome map_batch(const Batch& batch);              // map.cpp
Outcome unmap_batch(const Batch& batch);            // unmap.cpp
Outcome unmap_and_replace_batch(const Batch& batch);
Outcome copy_batch(const Batch& batch);             // copy.cpp
Outcome transfer_batch(const Batch& batch);         // transfer.cpp
Outcome cache_flush_batch(const Batch& batch);      // cache_flush.cpp
Outcome swap_batch(const Batch& batch);             // version.cpp
Outcome set_version(const Batch& batch);
Outcome setup_table(const Batch& batch);            // setup.cpp
Outcome get_status_frames(const Batch& batch);
Outcome query_size(const Batch& batch);
Outcome get_version(const Batch& batch);

}  // namespace hv::grant
