// Private to hv/x86/efi. Apart from efi.cpp, so that reading the loader's tags needs no page
// tables.
#pragma once

#include <span>

#include "hv/x86/efi/efi.hpp"

namespace hv::efi {

struct HandedOver {
    uint64_t table_address = 0;  ///< 0: not started by UEFI
    size_t descriptors_lost = 0;
    SystemTable table{};         ///< a copy, if it is good
    bool table_is_good = false;  ///< efi::init() has found it where the loader said
};
HandedOver& handed_over();

/// The memory map as far as it was kept.
std::span<const MemoryDescriptor> memory_descriptors();

}  // namespace hv::efi
