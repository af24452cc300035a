// Text on the hypervisor's console, a line at a time, and the few string functions the compiler
// expects.
#pragma once

#include <stdarg.h>
#include <stddef.h>

namespace guest {

/// Formats as printf does; knows %s %c %d %u %x %p with the flags 0, width, l, ll and z.
/// Returns the length written, without the terminating zero; never more than size - 1.
int format(char* out, size_t size, const char* fmt, va_list args);

/// Writes one piece of text by CONSOLEIO_write, so that lines of guest and hypervisor do not mix.
[[gnu::format(printf, 1, 2)]] void print(const char* fmt, ...);

/// Ends the machine: SHUTDOWN_reboot, which QEMU's -no-reboot turns into its end.
[[noreturn]] void shutdown();

}  // namespace guest

extern "C" {
void* memset(void* dst, int value, size_t n);
void* memcpy(void* dst, const void* src, size_t n);
int memcmp(const void* a, const void* b, size_t n);
size_t strlen(const char* s);
int strncmp(const char* a, const char* b, size_t n);
}
