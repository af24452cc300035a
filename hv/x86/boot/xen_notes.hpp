// What a kernel says about itself to a Xen-ABI hypervisor, in ELF notes (<xen/elfnote.h>).
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.hpp"
#include "hv/x86/boot/reader.hpp"

namespace hv::boot {

struct XenNotes {
    bool any = false;                            ///< there are Xen notes at all
    std::optional<uint64_t> entry;               ///< virtual address
    std::optional<uint64_t> hypercall_page;      ///< virtual address of a page to be filled in
    std::optional<uint64_t> virt_base;           ///< pseudo-physical 0 is mapped here
    uint64_t paddr_offset = 0;                   ///< what p_paddr has too much
    std::optional<uint64_t> init_p2m;            ///< where the p2m list is to be mapped
    std::optional<uint64_t> hv_start_low;        ///< the hypervisor must not begin below
    std::optional<uint64_t> physical_entry;      ///< for PVH
    bool module_by_frame = false;                ///< MOD_START_PFN: the initrd need not be mapped
    std::optional<uint32_t> supported_features;  ///< XENFEAT_* as bits
    uint32_t required_features = 0;              ///< the ones with `!` in the feature string
    bool wrong_version = false;                  ///< built for another ABI than "xen-3.0"
    char guest_os[32] = {};                      ///< for the log
};

/// Adds the notes of one PT_NOTE segment; others' notes are passed over. kEINVAL, kENODATA: a
/// note does not fit its segment or has a size that its type cannot have.
Result<> read_xen_notes(Bytes segment, XenNotes& into);

}  // namespace hv::boot
