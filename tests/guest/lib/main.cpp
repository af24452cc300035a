// The first C++ of the test image.
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

extern "C" [[noreturn]] void guest_main(start_info_t* info) {
    guest::init_platform(info);
    guest::run_tests();
    guest::shutdown();
}
