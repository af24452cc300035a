#include "efi/config.hpp"

#include <algorithm>

namespace efi {
namespace {

constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kKeys[] = {"default", "chain", "options", "kernel", "ramdisk",
                                      "xsm",     "ucode", "video",   "dtb"};

std::string_view trim(std::string_view text) {
    const size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

/// Any control character but a tab does, so that a byte of 0 is as harmless as another.
bool ends_line(char c) {
    return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == '\x7f';
}

/// The lines one after the other, without comments and blanks around them.
class Lines {
  public:
    explicit Lines(std::string_view text) : rest_(text) {}

    bool next(std::string_view& line) {
        if (rest_.empty()) return false;
        number_ = following_;
        const auto end = std::find_if(rest_.begin(), rest_.end(), ends_line);
        line = rest_.substr(0, static_cast<size_t>(end - rest_.begin()));
        if (end != rest_.end() && *end == '\n') ++following_;
        rest_.remove_prefix(std::min(line.size() + 1, rest_.size()));
        line = trim(line.substr(0, line.find('#')));
        if (line.starts_with(';')) line = {};
        return true;
    }

    size_t number() const { return number_; }

  private:
    std::string_view rest_;
    size_t number_ = 0, following_ = 1;
};

bool is_section(std::string_view line) {
    return line.starts_with('[');
}

bool names(std::string_view line, std::string_view section) {
    line.remove_prefix(1);
    return line.starts_with(section) && line.substr(section.size()).starts_with(']');
}

std::optional<std::string_view> value_of(std::string_view line, std::string_view key) {
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos || trim(line.substr(0, equals)) != key) return {};
    return trim(line.substr(equals + 1));
}

bool is_known(std::string_view line) {
    return std::any_of(std::begin(kKeys), std::end(kKeys),
                       [&](std::string_view key) { return value_of(line, key).has_value(); });
}

}  // namespace

Config::Config(std::string_view text) : text_(text) {
    // What some editors put in front of UTF-8.
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
}

std::optional<std::string_view> Config::find(std::string_view section, std::string_view key) const {
    bool inside = section.empty();
    std::string_view line;
    for (Lines lines(text_); lines.next(line);) {
        if (is_section(line)) {
            if (section.empty()) continue;
            if (inside) return {};
            inside = names(line, section);
        } else if (inside) {
            if (const auto value = value_of(line, key)) return value;
        }
    }
    return {};
}

bool Config::has_section(std::string_view name) const {
    std::string_view line;
    for (Lines lines(text_); lines.next(line);)
        if (is_section(line) && names(line, name)) return true;
    return false;
}

Config::Line Config::next_unknown(size_t after) const {
    Lines lines(text_);
    for (std::string_view line; lines.next(line);)
        if (lines.number() > after && !line.empty() && !is_section(line) && !is_known(line))
            return {lines.number(), line};
    return {};
}

bool Config::is_wide() const {
    return text_.starts_with("\xff\xfe") || text_.starts_with("\xfe\xff") ||
           (text_.size() > 1 && (text_[0] == '\0') != (text_[1] == '\0'));
}

std::string_view cut_word(std::string_view& text) {
    const size_t end = std::min(text.find_first_of(kBlanks), text.size());
    const std::string_view word = text.substr(0, end);
    text = trim(text.substr(end));
    return word;
}

}  // namespace efi
