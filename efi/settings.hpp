// What is to be booted: the section of the configuration file that the load options ask for.
#pragma once

#include "efi/config.hpp"
#include "efi/folder.hpp"
#include "efi/load_options.hpp"

namespace efi {

struct Settings {
    Loaded file;                           ///< the configuration; all texts here lie in it
    char name[256]{};                      ///< of that file, for messages
    std::string_view kernel, kernel_line;  ///< file, and what follows it
    std::string_view ramdisk;              ///< file; empty: none
    std::string_view boot_line;
    std::string_view video;
};

/// Finds the configuration file, follows `chain=` where the section is not in it, and reads the
/// section. Every error is told by a line; what has no effect is, too.
Result<Settings> read_settings(const Folder& folder, const LoadOptions& options);

}  // namespace efi
