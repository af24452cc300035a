// The page of entry points that a kernel asks for by its note HYPERCALL_PAGE (or that the tools
// ask for, XEN_DOMCTL_hypercall_init): entry N, of 32 bytes, makes hypercall N.
#pragma once

#include "hv/limits.hpp"

namespace hv::pv {

/// Overwrites `page`, of kPageSize bytes, with the entry points for a 64-bit PV guest.
void fill_hypercall_page(uint8_t* page);

}  // namespace hv::pv
