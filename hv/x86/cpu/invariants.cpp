// What the compiler and libstdc++'s headers call when an invariant of ours is broken, and what they
// want of a program that ends, which this one does not.
#include <cstdint>

#include "hv/console/log.hpp"

extern "C" {

__attribute__((visibility("hidden"))) uintptr_t __stack_chk_guard = 0x595e9fbd94fda766;

[[noreturn]] void __stack_chk_fail() {
    hv::panic("broken invariant: a stack frame was overrun");
}

void* __dso_handle = nullptr;
// Static objects live as long as the machine runs.
int __cxa_atexit(void (*)(void*), void*, void*) {
    return 0;
}
[[noreturn]] void __cxa_pure_virtual() {
    hv::panic("broken invariant: pure virtual call");
}

}  // extern "C"

namespace std {

// What the library's checked accesses call when the check fails: a mistake of ours.
[[noreturn]] void __throw_out_of_range_fmt(const char* text, ...) {
    hv::panic("broken invariant: {}", text);
}

}  // namespace std
