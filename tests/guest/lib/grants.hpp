// Grants of version 1: entries, mapping, copying.
#pragma once

#include "child.hpp"
#include "memory.hpp"

namespace guest {

/// The MFN of the first frame of Domain 0's own table.
uint64_t own_grant_frame();
/// Domain 0's own entries: those of the table's first frame, which is mapped at the first call.
volatile grant_entry_v1_t* own_grants();
/// A child's, as XENMEM_acquire_resource hands them to the tools, mapped at page `index` of
/// `window`.
volatile grant_entry_v1_t* grants_of(const Child& child, const Window& window, unsigned index);
/// Fills an entry in: `to` may use the frame. `flags`: perhaps GTF_readonly.
void allow(volatile grant_entry_v1_t& entry, uint64_t mfn, domid_t to, unsigned flags = 0);

/// Mapping takes no DOMID_SELF: Domain 0 names itself by its number. The answer is in `status`.
gnttab_map_grant_ref_t map_grant(uint64_t host_addr, grant_ref_t ref, uint32_t flags,
                                 domid_t dom = 0);
/// GNTST_*, also below.
int16_t unmap_grant(uint64_t host_addr, grant_handle_t handle);
/// To copy from the beginning of one of our own grants to that of a page of ours.
gnttab_copy_t copy_from_grant(grant_ref_t from, const void* to, uint16_t length);
int16_t run_copy(gnttab_copy_t& op);
/// GNTTABOP_set_version's answer: 0 or a negative error.
long set_grant_version(unsigned version);

}  // namespace guest
