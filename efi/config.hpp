// The configuration file of xen.efi: sections in brackets, KEY=VALUE lines, comments after `#`, or
// `;` at a line's beginning (Xen's docs/misc/efi.pandoc).
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace efi {

/// Looks into the file's text, which must outlive it; any bytes may stand there.
class Config {
  public:
    Config() = default;
    explicit Config(std::string_view text);

    /// The first value of `key` in the first section of that name, without blanks around it;
    /// without a section's name, the first in the file, whatever section it stands in.
    std::optional<std::string_view> find(std::string_view section, std::string_view key) const;

    bool has_section(std::string_view name) const;

    struct Line {
        size_t number;  ///< from 1 on; 0: there is none
        std::string_view text;
    };
    /// The first line behind line number `after` that is neither a section nor one of the keys that
    /// xen.efi knows.
    Line next_unknown(size_t after) const;

    /// Whether it looks like text in 16-bit characters, which cannot be read.
    bool is_wide() const;

  private:
    std::string_view text_;
};

/// Cuts off and gives what stands before the first blank; `text` begins with what is behind it.
std::string_view cut_word(std::string_view& text);

}  // namespace efi
