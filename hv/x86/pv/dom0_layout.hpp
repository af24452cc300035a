// Where the parts of a PV domain that the hypervisor builds go: in its pseudo-physical frames and
// in its first page tables.
//
//   virtual  base                                              end (a multiple of 4 MiB)
//            | kernel | initrd* | p2m* | start info | tables | stack | at least 512 KiB |
//   pfn      0 ………………………………………………………………………………………………………………… mapped_pages
//            | initrd** | p2m** and the tables that map it | the rest of its memory … | pages
//
//   *  if the kernel did not ask for   ** (notes MOD_START_PFN, INIT_P2M). The order, the alignment
//   and the padding are the ABI's (<xen/xen.h>, "Start-of-day memory layout").
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::pv {

/// What the layout has to hold.
struct Dom0Needs {
    uint64_t pages;                    ///< of the domain, all in all
    uint64_t virtual_base;             ///< VIRT_BASE: pfn 0 is mapped here; page-aligned
    uint64_t kernel_end;               ///< virtual, exclusive
    uint64_t initrd_bytes;             ///< 0: none
    bool initrd_by_frame;              ///< MOD_START_PFN
    std::optional<uint64_t> p2m_base;  ///< INIT_P2M
};

struct Dom0Layout {
    uint64_t base;    ///< virtual addresses, all of them page-aligned
    uint64_t initrd;  ///< 0: not mapped, or none
    uint64_t p2m;
    uint64_t start_info;
    uint64_t tables;     ///< the L4 first
    uint64_t stack_end;  ///< the initial stack pointer; the stack is one page
    uint64_t end;

    uint64_t mapped_pages;  ///< pfns 0 … from base to end
    uint64_t table_pages;
    Pfn initrd_pfn;
    uint64_t initrd_pages;
    Pfn p2m_pfn;
    uint64_t p2m_pages;
    uint64_t p2m_table_pages;  ///< right behind the p2m's frames; 0 if it is in the initial mapping
    uint64_t least_pages;      ///< what the domain must have at least

    Pfn pfn_of(uint64_t linear) const { return Pfn{(linear - base) >> kPageShift}; }
};

/// Tables of levels 1 to 3 that cover [start, end).
uint64_t tables_for(uint64_t start, uint64_t end);

/// kERANGE: does not fit into the guest's part of the address space, above or below the
/// hypervisor's. Whether the domain has least_pages at all is the caller's to check.
Result<Dom0Layout> lay_out_dom0(const Dom0Needs& needs);

}  // namespace hv::pv
