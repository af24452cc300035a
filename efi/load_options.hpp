// The command line that the firmware or its shell passes to xenolith.efi, read as xen.efi does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace efi {

/// `xenolith.efi [-basevideo] [-cfg=FILE] [-help] [SECTION] [-- BOOT LINE]`; `/` does for `-`.
class LoadOptions {
  public:
    /// `bytes`: LoadedImage's load options (UEFI 9.1.1). That is either a line with the program's
    /// name as its first word, as the shell gives it, or a whole EFI_LOAD_OPTION (3.1.3), whose
    /// optional data is the line without that word. In a line that begins with an option, the name
    /// is missing. Anything else is no line.
    explicit LoadOptions(std::span<const uint8_t> bytes);
    LoadOptions(const LoadOptions&) = delete;
    LoadOptions& operator=(const LoadOptions&) = delete;

    bool help = false, base_video = false;
    std::u16string_view config;     ///< empty: not given
    std::u16string_view section;    ///< empty: not given
    std::u16string_view boot_line;  ///< what follows `--`, for the hypervisor
    std::u16string_view unknown;    ///< the first option that is not one of those above
    bool too_long = false;          ///< the line was cut

  private:
    void parse(std::u16string_view line, bool with_name);
    void parse_option(std::u16string_view option, std::u16string_view& rest);

    char16_t text_[2048];
};

}  // namespace efi
