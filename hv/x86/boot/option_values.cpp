#include "hv/x86/boot/option_values.hpp"

namespace hv::boot {
namespace {

constexpr bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
    for (std::string_view word : words)
        if (text == word) return true;
    return false;
}

std::optional<unsigned> digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return std::nullopt;
}

std::optional<unsigned> parse_count(std::string_view text) {
    const auto number = parse_number(text);
    if (!number || *number > UINT32_MAX) return std::nullopt;
    return static_cast<unsigned>(*number);
}

/// "8n1": data bits, parity, stop bits.
bool parse_frame_format(std::string_view text, Options::Serial& into) {
    if (text.size() != 3 || text[0] < '5' || text[0] > '8' || text[2] < '1' || text[2] > '2' ||
        std::string_view("noems").find(text[1]) == std::string_view::npos)
        return false;
    into.data_bits = static_cast<unsigned>(text[0] - '0');
    into.parity = text[1];
    into.stop_bits = static_cast<unsigned>(text[2] - '0');
    return true;
}

}  // namespace

std::string_view cut(std::string_view& text, char separator) {
    const size_t at = text.find(separator);
    const std::string_view before = text.substr(0, at);
    text = at == std::string_view::npos ? std::string_view{} : text.substr(at + 1);
    return before;
}

std::optional<bool> parse_boolean(std::string_view text) {
    if (is_one_of(text, {"yes", "on", "true", "enable", "1"})) return true;
    if (is_one_of(text, {"no", "off", "false", "disable", "0"})) return false;
    return std::nullopt;
}

std::optional<uint64_t> parse_number(std::string_view text) {
    unsigned radix = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        radix = 16;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text[0] == '0') {
        radix = 8;
    }
    if (text.empty()) return std::nullopt;
    uint64_t value = 0;
    for (char c : text) {
        const auto digit = digit_of(c);
        if (!digit || *digit >= radix || __builtin_mul_overflow(value, radix, &value) ||
            __builtin_add_overflow(value, *digit, &value))
            return std::nullopt;
    }
    return value;
}

std::optional<uint64_t> parse_size(std::string_view text) {
    if (text.empty()) return std::nullopt;
    uint64_t unit = kKiB;
    constexpr std::string_view kUnits = "bkmgt";
    const size_t at = kUnits.find(static_cast<char>(text.back() | 0x20));
    // A hexadecimal number may end in b; Xen takes it for a digit as well.
    if (at != std::string_view::npos && !(at == 0 && text.starts_with("0x"))) {
        unit = uint64_t{1} << (10 * at);
        text.remove_suffix(1);
    }
    const auto number = parse_number(text);
    uint64_t bytes;
    if (!number || __builtin_mul_overflow(*number, unit, &bytes)) return std::nullopt;
    return bytes;
}

std::optional<Options::Level> parse_level(std::string_view text) {
    using Level = Options::Level;
    if (text == "none") return Level::kNone;
    if (text == "error") return Level::kError;
    if (text == "warning") return Level::kWarning;
    if (text == "info") return Level::kInfo;
    if (text == "debug" || text == "all") return Level::kAll;
    return std::nullopt;
}

bool parse_levels(std::string_view text, Options::Level& level, Options::Level& rate) {
    const auto always = parse_level(cut(text, '/'));
    if (!always) return false;
    auto limited = always;
    if (!text.empty()) limited = parse_level(text);
    if (!limited) return false;
    level = *always;
    rate = *limited > *always ? *limited : *always;
    return true;
}

bool parse_memory(std::string_view text, MemorySize& into) {
    MemorySize size{.given = true};
    if (text.starts_with('-')) {
        size.negative = true;
        text.remove_prefix(1);
    }
    if (text.ends_with('%')) {
        const size_t plus = text.find('+');
        const std::string_view percent = text.substr(plus == std::string_view::npos ? 0 : plus + 1);
        const auto number = parse_number(percent.substr(0, percent.size() - 1));
        if (!number || *number >= 100) return false;
        size.percent = static_cast<unsigned>(*number);
        text = plus == std::string_view::npos ? "0" : text.substr(0, plus);
    }
    const auto bytes = parse_size(text);
    if (!bytes) return false;
    size.bytes = *bytes;
    into = size;
    return true;
}

bool parse_vcpus(std::string_view text, unsigned& min, unsigned& max) {
    const bool is_range = text.find('-') != std::string_view::npos;
    const std::string_view low = cut(text, '-');
    const auto first = low.empty() && is_range ? std::optional(1u) : parse_count(low);
    if (!first) return false;
    const auto second = !is_range ? first : text.empty() ? std::optional(0u) : parse_count(text);
    if (!second || (*second && *second < *first)) return false;
    min = *first;
    max = *second;
    return true;
}

bool parse_serial(std::string_view text, Options::Serial& into) {
    std::string_view speed = cut(text, ',');
    const std::string_view baud = cut(speed, '/');  // the clock behind `/` is the usual one here
    if (!baud.empty() && baud != "auto") {
        const auto number = parse_count(baud);
        if (!number || *number == 0) return false;
        into.baud = *number;
    }
    const std::string_view format = cut(text, ',');
    if (!format.empty() && !parse_frame_format(format, into)) return false;
    const std::string_view port = cut(text, ',');
    if (!port.empty()) {
        const auto number = parse_number(port);
        if (!number || *number == 0 || *number > 0xfff8) return false;
        into.port = static_cast<uint16_t>(*number);
    }
    const std::string_view irq = cut(text, ',');
    if (!irq.empty()) {
        const auto number = parse_count(irq);
        if (!number) return false;
        into.irq = *number;
    }
    return text.empty();
}

}  // namespace hv::boot
