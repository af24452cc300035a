// Prints how many pages the hypervisor has free, counting those that wait to be scrubbed:
// `xl info` says it in MiB only, and the tests want it to the page.
#include <cinttypes>
#include <cstdio>

extern "C" {
#include <xenctrl.h>
}

int main() {
    xc_interface* xc = xc_interface_open(nullptr, nullptr, 0);
    if (xc == nullptr) {
        std::perror("free-pages: no access to the hypervisor");
        return 1;
    }
    xc_physinfo_t info{};
    const bool good = xc_physinfo(xc, &info) == 0;
    if (good) {
        std::printf("%" PRIu64 "\n", info.free_pages + info.scrub_pages);
    } else {
        std::perror("free-pages: physinfo");
    }
    xc_interface_close(xc);
    return good ? 0 : 1;
}
