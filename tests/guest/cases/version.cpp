// xen_version and what a caller sees of a hypercall that goes wrong.
#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"

using namespace guest;

TEST(version_number, "xen_version XENVER_version", "") {
    CHECK_EQ(xen_version(XENVER_version), 4 << 16 | 17);
}
