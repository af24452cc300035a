// Type-safe text: format_to(sink, "d{} mfn {:x}\n", id, mfn). No allocation, no locale.
//
// A placeholder is {} or {:SPEC}; SPEC = [0][width][x], x for hexadecimal. {{ and }} are braces.
// Strong integers print as their number, enums as theirs, const char* and string_view as text.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace base {

struct FormatArg {
    enum class Kind : uint8_t { kUnsigned, kSigned, kText } kind;
    union {
        uint64_t number;
        struct {
            const char* data;
            size_t size;
        } text;
    };
};

template <class T>
FormatArg format_arg(const T& value) {
    FormatArg arg{};
    if constexpr (std::is_convertible_v<const T&, std::string_view>) {
        std::string_view view = value;
        arg.kind = FormatArg::Kind::kText;
        arg.text = {view.data(), view.size()};
    } else if constexpr (requires { value.raw(); }) {
        arg = format_arg(value.raw());
    } else if constexpr (std::is_enum_v<T>) {
        arg = format_arg(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::is_pointer_v<T>) {
        arg.kind = FormatArg::Kind::kUnsigned;
        arg.number = reinterpret_cast<uintptr_t>(value);
    } else {
        static_assert(std::is_integral_v<T>, "no way to print this type");
        arg.kind = std::is_signed_v<T> ? FormatArg::Kind::kSigned : FormatArg::Kind::kUnsigned;
        arg.number = static_cast<uint64_t>(static_cast<int64_t>(value));
        if constexpr (std::is_unsigned_v<T>) arg.number = value;
    }
    return arg;
}

/// Where text goes, one piece at a time.
using TextSink = void (*)(void* context, std::string_view piece);

void format_args(TextSink sink, void* context, std::string_view format, const FormatArg* args,
                 size_t count);

template <class... Args>
void format_to(TextSink sink, void* context, std::string_view format, const Args&... args) {
    const FormatArg list[sizeof...(Args) + 1] = {format_arg(args)..., {}};
    format_args(sink, context, format, list, sizeof...(Args));
}

/// Formats into `buffer` (always terminated by NUL); returns the length, cut at `size` - 1.
template <class... Args>
size_t format_into(char* buffer, size_t size, std::string_view format, const Args&... args) {
    struct Cursor {
        char* at;
        size_t left;
    } cursor{buffer, size ? size - 1 : 0};
    format_to(
        [](void* context, std::string_view piece) {
            auto* c = static_cast<Cursor*>(context);
            for (char ch : piece.substr(0, c->left)) *c->at++ = ch, --c->left;
        },
        &cursor, format, args...);
    if (size) *cursor.at = '\0';
    return static_cast<size_t>(cursor.at - buffer);
}

}  // namespace base
