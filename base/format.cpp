#include "base/format.hpp"

namespace base {
namespace {

struct Spec {
    bool hex = false;
    bool zero = false;
    unsigned width = 0;
};

Spec parse_spec(std::string_view text) {
    Spec spec;
    for (char c : text) {
        if (c == 'x')
            spec.hex = true;
        else if (c == '0' && spec.width == 0)
            spec.zero = true;
        else if (c >= '0' && c <= '9')
            spec.width = spec.width * 10 + static_cast<unsigned>(c - '0');
    }
    return spec;
}

void pad(TextSink sink, void* context, char fill, size_t have, unsigned width) {
    for (; have < width; ++have) sink(context, std::string_view(&fill, 1));
}

void put_number(TextSink sink, void* context, const FormatArg& arg, const Spec& spec) {
    uint64_t value = arg.number;
    bool negative =
        arg.kind == FormatArg::Kind::kSigned && !spec.hex && static_cast<int64_t>(value) < 0;
    if (negative) value = ~value + 1;
    char digits[24];
    size_t at = sizeof digits;
    const unsigned radix = spec.hex ? 16 : 10;
    do {
        digits[--at] = "0123456789abcdef"[value % radix];
        value /= radix;
    } while (value);
    size_t length = sizeof digits - at + (negative ? 1 : 0);
    if (!spec.zero) pad(sink, context, ' ', length, spec.width);
    if (negative) sink(context, "-");
    if (spec.zero) pad(sink, context, '0', length, spec.width);
    sink(context, std::string_view(digits + at, sizeof digits - at));
}

void put(TextSink sink, void* context, const FormatArg& arg, const Spec& spec) {
    if (arg.kind != FormatArg::Kind::kText) return put_number(sink, context, arg, spec);
    sink(context, std::string_view(arg.text.data, arg.text.size));
    pad(sink, context, ' ', arg.text.size, spec.width);
}

}  // namespace

void format_args(TextSink sink, void* context, std::string_view format, const FormatArg* args,
                 size_t count) {
    size_t next = 0;
    while (!format.empty()) {
        size_t brace = format.find_first_of("{}");
        sink(context, format.substr(0, brace));
        if (brace == std::string_view::npos) return;
        char c = format[brace];
        format.remove_prefix(brace + 1);
        if (!format.empty() && format[0] == c) {
            sink(context, format.substr(0, 1));
            format.remove_prefix(1);
            continue;
        }
        if (c == '}') continue;
        size_t end = format.find('}');
        if (end == std::string_view::npos) return;
        if (next < count) put(sink, context, args[next++], parse_spec(format.substr(0, end)));
        format.remove_prefix(end + 1);
    }
}

}  // namespace base
