// What the boot loader's code needs of the hypervisor, for its tests: memory from malloc (so that
// the sanitizer sees every step outside a buffer), and a log that can be read. Include once.
#pragma once

#include <cstdlib>
#include <string>

#include "hv/console/log.hpp"
#include "hv/memory/heap.hpp"

namespace fake {

inline std::string log_text;
inline size_t heap_objects;  ///< that are allocated
inline bool heap_empty;      ///< every allocation fails

/// What was logged since the last call.
inline std::string take_log() {
    return std::exchange(log_text, {});
}

}  // namespace fake

namespace hv {

bool log_enabled(LogLevel, bool) {
    return true;
}
void log_args(LogLevel, bool, std::string_view format, const base::FormatArg* args, size_t count) {
    base::format_args([](void*, std::string_view piece) { fake::log_text += piece; }, nullptr,
                      format, args, count);
    fake::log_text += '\n';
}
void panic_args(std::string_view format, const base::FormatArg* args, size_t count) {
    log_args(LogLevel::kError, false, format, args, count);
    fputs(fake::log_text.c_str(), stderr);
    abort();
}

namespace heap {
void* allocate(size_t bytes) {
    if (fake::heap_empty) return nullptr;
    ++fake::heap_objects;
    return calloc(1, bytes);
}
void release(void* object) {
    if (object) --fake::heap_objects;
    free(object);
}
}  // namespace heap

}  // namespace hv
