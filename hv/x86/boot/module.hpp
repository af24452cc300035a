// A file that the boot loader put into memory beside the hypervisor (a multiboot module).
#pragma once

#include <cstdint>
#include <string_view>

#include "hv/limits.hpp"

namespace hv::boot {

struct BootModule {
    uint64_t machine_address = 0;   ///< of its first byte, in RAM that the allocator does not have
    uint64_t size = 0;              ///< bytes; 0: there is no such module
    std::string_view command_line;  ///< without the file's name (strip_file_name); stays valid
};

/// Loaders other than GRUB 2 put the file's name in front of a module's string. `loader`: what the
/// loader calls itself in the multiboot information, or empty.
std::string_view strip_file_name(std::string_view line, std::string_view loader);

}  // namespace hv::boot
