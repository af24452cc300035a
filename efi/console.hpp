// Lines on the firmware's console, while there is one.
#pragma once

#include <string_view>

#include "base/errno.hpp"
#include "base/format.hpp"
#include "base/result.hpp"
#include "efi/firmware.hpp"

namespace efi {

using base::Errno;
using base::Fail;
using base::Result;

/// Where lines go from now on; they begin with the program's name.
void open_console(const SystemTable& table);

/// Prints; a base::TextSink.
void print(void*, std::string_view text);

template <class... Args>
void say(std::string_view format, const Args&... args) {
    print(nullptr, "xenolith.efi: ");
    base::format_to(print, nullptr, format, args...);
    print(nullptr, "\n");
}

/// Says what is wrong and what to do, and gives the error to return.
template <class... Args>
Fail fail(Errno error, std::string_view format, const Args&... args) {
    say(format, args...);
    return {error};
}

/// What the firmware is told of an error.
Status status_of(Errno error);

/// Until a key is pressed, or for `seconds`: firmware tends to clear the screen afterwards.
void wait_for_reader(const SystemTable& table, unsigned seconds);

}  // namespace efi
