// A file's name as the firmware takes it: 16-bit characters, ending in 0.
#pragma once

#include <cstddef>
#include <string_view>

namespace efi {

class Path {
  public:
    static constexpr size_t kMaxLength = 511;

    /// Adds text; `/` becomes the firmware's `\`. False, and nothing is added, if it does not fit
    /// or is not ASCII (8-bit text) and so means nothing certain.
    bool append(std::u16string_view text);
    bool append(std::string_view text);

    /// Only the part up to and with the last `\`, or nothing.
    void keep_folder();

    /// The name of the next configuration file that goes with a program of this name: what follows
    /// the last `.`, `-` or `_` is replaced by `.cfg`, and each call drops one such part more, as
    /// xen.efi does (xen-4.17.efi: xen-4.17.cfg, xen-4.cfg, xen.cfg). False: there is no further.
    bool next_config();

    std::u16string_view text() const { return {text_, length_}; }
    const char16_t* c_str() const { return text_; }

  private:
    void cut(size_t length) { text_[length_ = length] = u'\0'; }

    char16_t text_[kMaxLength + 1] = {};
    size_t length_ = 0;
    size_t stem_ = kMaxLength + 1;  // of it the next configuration's name is made
};

/// Text as it can be printed, in ASCII; cut after 255 characters.
class Ascii {
  public:
    explicit Ascii(std::u16string_view text);
    operator std::string_view() const { return {text_, length_}; }

  private:
    char text_[255];
    size_t length_;
};

}  // namespace efi
