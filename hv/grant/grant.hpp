// Grant tables, as the other rooms use them. The hypercall is in hv/grant/grant_table_op.cpp.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/memory/page.hpp"

namespace hv {

struct Domain;
class GrantTable;

namespace grant {

/// The limits are xen_domctl_createdomain's; kEINVAL above the hypervisor's own (64 frames, 1024).
struct Limits {
    uint32_t max_frames;
    uint32_t max_maptrack_frames;
    uint8_t max_version;
};
Result<> init_domain(Domain& domain, const Limits& limits);
/// Undoes all mappings that `domain` holds of others' frames; true: stopped early, call again.
bool release_mappings(Domain& domain);
void destroy_domain(Domain& domain);

/// Grows the table of `domain` so that frame `index` exists, and says its MFN (status: of the v2
/// status frames). For XENMEM_add_to_physmap and XENMEM_acquire_resource.
Result<Mfn> table_frame(Domain& domain, uint32_t index, bool status);
uint32_t max_frames(Domain& domain);

/// Fills in the reserved entries (GNTTAB_RESERVED_CONSOLE, _XENSTORE) of a domain that is built.
Result<> seed(Domain& domain, GrantRef ref, DomId backend, Gfn frame);

/// For debug key 'g'.
void dump(Domain& domain);

}  // namespace grant

namespace arch {

/// Maps the granted frame at `host_address` of the current domain. GNTMAP_contains_pte: it is the
/// machine address of an L1 entry; else a linear address. The caller holds the references.
/// kEINVAL (GNTST_general_error): no L1 entry there that the domain may write.
Result<> map_grant(uint64_t host_address, Mfn frame, bool read_only, uint32_t gntmap_flags);
/// Replaces that mapping: by nothing, or (`new_address` != 0, unmap_and_replace) by what stands at
/// `new_address`, which is cleared. kEINVAL: the entry is not that mapping.
Result<> unmap_grant(uint64_t host_address, Mfn frame, bool read_only, uint32_t gntmap_flags,
                     uint64_t new_address);
/// The guest's linear address or gfn of a frame named in GNTTABOP_copy: PV names MFNs.
Result<Mfn> guest_frame_to_mfn(Domain& domain, Gfn gfn);

}  // namespace arch
}  // namespace hv
