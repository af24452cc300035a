// The machine-to-physical table: for each frame of the machine, the pseudo-physical number its
// owner gave it. Its place and its form are ABI (xen.h, MACH2PHYS_VIRT_START).
//
//   guests' window, 256 GiB, read-only             ours, writable
//   ┌ GiB 0 of frames ┐ one 2 MiB block  ◀────────  the same block
//   │ GiB 1: no RAM   │ 512 times one page of ~0    (not mapped)
//   │ …               │
//   └ to the end      ┘ the same page: a reader of any frame's entry finds an answer
//
// A block is one large page in both windows, and its frames are shown to the control domain
// (XENMEM_machphys_mfn_list), whose tools map them as DOMID_XEN's.
#pragma once

#include "hv/limits.hpp"

namespace hv::paging {

/// Makes the table, once, when the allocator has its memory and before anybody owns a frame.
/// Panics if there is no room for it.
void build_m2p();

/// Shows the guests' window in the L4 table of a guest's kernel. Tables that only its user mode
/// runs on never have it.
void show_m2p(Mfn guest_l4);
/// Takes it out again, for a table that was its kernel's and becomes its user mode's.
void hide_m2p(Mfn guest_l4);

}  // namespace hv::paging
