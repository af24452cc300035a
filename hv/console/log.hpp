// The hypervisor's log: one line says who, what and why. It goes to the serial line and to the
// ring that `xl dmesg` reads. Levels as `loglvl=` and `guest_loglvl=` select them.
#pragma once

#include "base/format.hpp"

namespace hv {

enum class LogLevel : unsigned char { kError, kWarning, kInfo, kDebug };

/// Whether a line of that level is printed; `guest`: caused by a guest (guest_loglvl=, rate
/// limited).
bool log_enabled(LogLevel level, bool guest);
void log_args(LogLevel level, bool guest, std::string_view format, const base::FormatArg* args,
              size_t count);

/// A line of the hypervisor's own; the newline is added.
template <class... Args>
void log(LogLevel level, std::string_view format, const Args&... args) {
    if (!log_enabled(level, false)) return;
    const base::FormatArg list[sizeof...(Args) + 1] = {base::format_arg(args)..., {}};
    log_args(level, false, format, list, sizeof...(Args));
}

/// A line that somebody asked for (a debug key): printed whatever `loglvl=` says.
template <class... Args>
void report(std::string_view format, const Args&... args) {
    const base::FormatArg list[sizeof...(Args) + 1] = {base::format_arg(args)..., {}};
    log_args(LogLevel::kInfo, false, format, list, sizeof...(Args));
}

/// A line that a guest caused: prefixed with "dXvY ", limited in rate, so no guest fills the log.
template <class... Args>
void guest_log(LogLevel level, std::string_view format, const Args&... args) {
    if (!log_enabled(level, true)) return;
    const base::FormatArg list[sizeof...(Args) + 1] = {base::format_arg(args)..., {}};
    log_args(level, true, format, list, sizeof...(Args));
}

/// A broken invariant of our own: prints the line, registers and a backtrace, then halts or
/// reboots (`noreboot`). Nothing that a guest can cause may end here.
[[noreturn]] void panic_args(std::string_view format, const base::FormatArg* args, size_t count);

template <class... Args>
[[noreturn]] void panic(std::string_view format, const Args&... args) {
    const base::FormatArg list[sizeof...(Args) + 1] = {base::format_arg(args)..., {}};
    panic_args(format, list, sizeof...(Args));
}

/// Panics unless `condition`: for our own invariants only, in every build.
inline void invariant(bool condition, const char* what) {
    if (!condition) [[unlikely]]
        panic("broken invariant: {}", what);
}

}  // namespace hv
