#include "efi/load_options.hpp"

#include <algorithm>
#include <optional>

namespace efi {
namespace {

constexpr std::u16string_view kBlanks = u" \t";
using Bytes = std::span<const uint8_t>;

char16_t character(Bytes bytes, size_t index) {
    return static_cast<char16_t>(bytes[2 * index] | bytes[2 * index + 1] << 8);
}

/// The place of the first 0 among the 16-bit characters of `bytes`; past all: there is none.
size_t find_end(Bytes bytes) {
    size_t n = 0;
    while (2 * n + 1 < bytes.size() && character(bytes, n)) ++n;
    return n;
}

/// The optional data of an EFI_LOAD_OPTION: attributes, the length of the device paths, a title
/// that ends in 0, the paths, and then it.
std::optional<Bytes> optional_data(Bytes bytes) {
    constexpr size_t kHeader = 6;
    constexpr uint8_t kActive = 1;
    if (bytes.size() < kHeader || !(bytes[0] & kActive)) return {};
    const size_t paths = bytes[4] | bytes[5] << 8;
    const Bytes title = bytes.subspan(kHeader);
    const size_t title_bytes = 2 * (find_end(title) + 1);
    if (title_bytes + paths > title.size()) return {};
    return title.subspan(title_bytes + paths);
}

std::u16string_view next_word(std::u16string_view& line) {
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
    const std::u16string_view word = line.substr(0, line.find_first_of(kBlanks));
    line.remove_prefix(word.size());
    return word;
}

bool is_option(std::u16string_view word) {
    return word.starts_with(u'-') || word.starts_with(u'/');
}

}  // namespace

LoadOptions::LoadOptions(Bytes bytes) {
    // A line has no 0 but at its end; a load option has one in its first four bytes.
    const size_t end = find_end(bytes);
    const bool is_line = bytes.size() % 2 == 0 && 2 * (end + 1) >= bytes.size();
    if (!is_line) {
        const auto data = optional_data(bytes);
        if (!data) return;
        bytes = *data;
    }
    const size_t length = find_end(bytes);
    too_long = length > std::size(text_);
    const size_t kept = std::min(length, std::size(text_));
    for (size_t i = 0; i < kept; ++i) text_[i] = character(bytes, i);
    parse({text_, kept}, is_line);
}

void LoadOptions::parse(std::u16string_view line, bool with_name) {
    if (with_name) {
        std::u16string_view rest = line;
        if (!next_word(rest).starts_with(u'-')) line = rest;
    }
    while (true) {
        const std::u16string_view word = next_word(line);
        if (word.empty()) return;
        if (word == u"--") {
            boot_line = line.substr(std::min(line.find_first_not_of(kBlanks), line.size()));
            return;
        }
        if (is_option(word))
            parse_option(word, line);
        else
            section = word;
    }
}

void LoadOptions::parse_option(std::u16string_view option, std::u16string_view& rest) {
    const std::u16string_view name = option.substr(1);
    if (name == u"basevideo")
        base_video = true;
    else if (name == u"help" || name == u"?")
        help = true;
    else if (name.starts_with(u"cfg="))
        config = name.substr(4);
    else if (name == u"cfg")
        config = next_word(rest);
    else if (unknown.empty())
        unknown = option;
}

}  // namespace efi
