#include "hv/x86/boot/module.hpp"

namespace hv::boot {
namespace {

std::string_view skip_spaces(std::string_view text) {
    const size_t first = text.find_first_not_of(' ');
    return first == std::string_view::npos ? std::string_view{} : text.substr(first);
}

/// "GRUB 2.06-13+deb12u1"; GRUB 0.9x keeps the name in the line.
bool is_grub2(std::string_view loader) {
    constexpr std::string_view kName = "GRUB ";
    const size_t at = loader.find(kName);
    if (at == std::string_view::npos || at + kName.size() >= loader.size()) return false;
    return loader[at + kName.size()] != '0';
}

}  // namespace

std::string_view strip_file_name(std::string_view line, std::string_view loader) {
    line = skip_spaces(line);
    if (is_grub2(loader)) return line;
    const size_t end = line.find(' ');
    return end == std::string_view::npos ? std::string_view{} : skip_spaces(line.substr(end));
}

}  // namespace hv::boot
