// What libstdc++'s checked accesses call when the check fails: a mistake of ours. Nothing can be
// undone from here, so it says so and stops; the host's library has its own for tests.
#ifndef XENOLITH_HOST

#include "efi/console.hpp"

namespace std {

[[noreturn]] void __throw_out_of_range_fmt(const char* text, ...) {
    efi::say("broken invariant: {}; switch the machine off and on, and report it", text);
    while (true) asm volatile("pause");
}

}  // namespace std

#endif
