// console_io: Domain 0's console.
#include "print.hpp"
#include "test.hpp"
#include "xen.hpp"

namespace guest {

TEST(console_write_shown, "console_io write: Domain 0's text appears unchanged, length respected",
     "ends=^console text ends here\\.$") {
    announce_end();
    static const char text[] = "console text ends here.\nnot shown";
    CHECK_EQ(console_io(CONSOLEIO_write, 24, text), 0);
    fail("written");
}

TEST(console_read_empty, "console_io read: nothing typed, nothing read; unknown commands", "") {
    char in[16];
    CHECK_EQ(console_io(CONSOLEIO_read, sizeof in, in), 0);
    CHECK_EQ(console_io(7, sizeof in, in), -kENOSYS);
}

}  // namespace guest
