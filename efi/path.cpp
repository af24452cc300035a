#include "efi/path.hpp"

#include <algorithm>

namespace efi {
namespace {

bool is_ascii(char c) {
    return c > ' ' && c < '\x7f';
}

}  // namespace

bool Path::append(std::u16string_view text) {
    if (text.size() > kMaxLength - length_) return false;
    for (const char16_t c : text) text_[length_++] = c == u'/' ? u'\\' : c;
    text_[length_] = u'\0';
    return true;
}

bool Path::append(std::string_view text) {
    if (text.size() > kMaxLength - length_ || !std::all_of(text.begin(), text.end(), is_ascii))
        return false;
    for (const char c : text) text_[length_++] = c == '/' ? u'\\' : static_cast<char16_t>(c);
    text_[length_] = u'\0';
    return true;
}

void Path::keep_folder() {
    const size_t last = text().rfind(u'\\');
    cut(last == std::u16string_view::npos ? 0 : last + 1);
}

bool Path::next_config() {
    const std::u16string_view stem = text().substr(0, stem_);
    const size_t folder = stem.rfind(u'\\') + 1;  // 0 if there is none
    const size_t last = stem.find_last_of(u".-_");
    if (last == std::u16string_view::npos || last < folder) return false;
    stem_ = last;
    cut(last);
    return append(std::u16string_view(u".cfg"));
}

Ascii::Ascii(std::u16string_view text) : length_(std::min(text.size(), sizeof text_)) {
    std::transform(
        text.begin(), text.begin() + static_cast<std::ptrdiff_t>(length_), text_,
        [](char16_t c) { return c >= u' ' && c < u'\x7f' ? static_cast<char>(c) : '?'; });
}

}  // namespace efi
