// The program that Domain 0 and the guest run for `./xenolith bench --debian`; it is linked
// statically, so that one file serves both.
#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <span>
#include <string_view>

#include "loops.hpp"
#include "samples.hpp"

namespace {

using namespace bench;

constexpr unsigned short kPort = 5001;
constexpr const char* kDomain0 = "192.168.128.1";

/// "STAMP name TSC since": the TSC now, and when this kernel began to count its time.
void stamp(const char* name) {
    timespec up{};
    clock_gettime(CLOCK_MONOTONIC, &up);
    const uint64_t now = tsc();
    // At 1 GHz a nanosecond is an instruction.
    const uint64_t ran =
        static_cast<uint64_t>(up.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(up.tv_nsec);
    std::printf("\nSTAMP %s %" PRIu64 " %" PRIu64 "\n", name, now, now - ran);
}

/// Runs a command; "STAMP name TSC-before TSC-after". Gives its status.
int timed(const char* name, char** command) {
    const uint64_t before = tsc();
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child == 0) {
        execvp(*command, command);
        std::perror(*command);
        _exit(127);
    }
    int status = 0;
    must(waitpid(child, &status, 0), "waitpid");
    const uint64_t after = tsc();
    std::printf("\nSTAMP %s %" PRIu64 " %" PRIu64 "\n", name, before, after);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/// Tells the kernel that it has entropy. This machine has no source of any, and as long as the
/// kernel waits for some, xl sleeps a second for each UUID that it makes up.
void seed() {
    // rand_pool_info: bits of entropy, bytes, and these.
    std::array<uint32_t, 2 + 16> pool{512, 64};
    const int device = static_cast<int>(must(open("/dev/random", O_WRONLY), "/dev/random"));
    must(ioctl(device, RNDADDENTROPY, pool.data()), "RNDADDENTROPY");
    close(device);
}

}  // namespace

int main(int count, char** words) {
    const std::span<char*> arguments(words, static_cast<size_t>(count));
    const std::string_view what = count > 1 ? arguments[1] : "";
    if (what == "nothing") return 0;  // what fork_exec executes
    if (what == "stamp" && count == 3) return stamp(arguments[2]), 0;
    if (what == "seed" && count == 2) return seed(), 0;
    if (what == "timed" && count > 3) return timed(arguments[2], &arguments[3]);
    if (what == "loops" && count == 2) return run_loops(), 0;
    if (what == "disk" && count == 3) return run_disk(arguments[2]), 0;
    if (what == "serve" && count == 2) serve_network(kPort);
    if (what == "network" && count == 2) return run_network(kDomain0, kPort), 0;
    std::fputs(
        "usage: loops stamp NAME | seed | timed NAME COMMAND... | loops | disk DEVICE | serve | "
        "network\n",
        stderr);
    return 2;
}
