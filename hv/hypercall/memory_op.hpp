// memory_op by operation; each handler is in the file of its family. `start` is the progress that
// a continuation put into the command (MEMOP_EXTENT_SHIFT): the guest can lie about it.
#pragma once

#include "arch/memory.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/outcome.hpp"
#include "hv/memory/page.hpp"

namespace hv::memory_op {

using Handler = Outcome (*)(uint64_t address, uint64_t start);

// memory_reservation.cpp
Outcome increase_reservation(uint64_t address, uint64_t start);
Outcome decrease_reservation(uint64_t address, uint64_t start);
Outcome populate_physmap(uint64_t address, uint64_t start);
Outcome claim_pages(uint64_t address, uint64_t start);

// memory_exchange.cpp
Outcome exchange(uint64_t address, uint64_t start);

// memory_query.cpp
Outcome maximum_ram_page(uint64_t address, uint64_t start);
Outcome current_reservation(uint64_t address, uint64_t start);
Outcome maximum_reservation(uint64_t address, uint64_t start);
Outcome maximum_gpfn(uint64_t address, uint64_t start);
Outcome machphys_mapping(uint64_t address, uint64_t start);
Outcome machphys_mfn_list(uint64_t address, uint64_t start);
Outcome machphys_compat_mfn_list(uint64_t address, uint64_t start);
Outcome pod_target(uint64_t address, uint64_t start);
Outcome reserved_device_memory_map(uint64_t address, uint64_t start);

// virtual_nodes.cpp
Outcome get_vnumainfo(uint64_t address, uint64_t start);

// memory_map.cpp
Outcome memory_map(uint64_t address, uint64_t start);
Outcome set_memory_map(uint64_t address, uint64_t start);
Outcome machine_memory_map(uint64_t address, uint64_t start);

// memory_physmap.cpp
Outcome add_to_physmap(uint64_t address, uint64_t start);
Outcome add_to_physmap_batch(uint64_t address, uint64_t start);
Outcome remove_from_physmap(uint64_t address, uint64_t start);
Outcome acquire_resource(uint64_t address, uint64_t start);

/// The largest block that the calling domain may ask for at once.
unsigned max_order();

/// Tells the M2P where a frame that has just become the domain's lies in it. Another vCPU may have
/// given the frame up already: then the entry is the next owner's, and stays as it is.
inline void set_pfn_of(Domain& domain, Mfn mfn, uint64_t pfn) {
    if (auto page = PageRef::take(mfn, domain.id)) arch::set_m2p(mfn, pfn);
}

/// The command of a continuation.
constexpr uint64_t resume_at(uint32_t op, uint64_t done) {
    return op | (done << 6);
}

}  // namespace hv::memory_op
