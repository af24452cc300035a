// What programs ask of their kernel all day long, and what a PV kernel in turn asks of the
// hypervisor: page tables made, changed and thrown away, and the table switched.
#include "loops.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

#include "samples.hpp"

namespace bench {
namespace {

constexpr unsigned kRounds = 2000;
constexpr size_t kPage = 4096;

void wait_for(pid_t child) {
    must(waitpid(child, nullptr, 0), "waitpid");
}

char* map(size_t pages) {
    void* at =
        mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(at == MAP_FAILED ? -1 : 0, "mmap");
    return static_cast<char*>(at);
}

void unmap(char* at, size_t pages) {
    must(munmap(at, pages * kPage), "munmap");
}

/// Writes to each page, from the first on; gives one reading a page.
Samples touch(char* at, unsigned pages) {
    return Samples::of(pages, [at](unsigned i) { static_cast<volatile char*>(at)[i * kPage] = 1; });
}

void processes() {
    Samples::of(kRounds, [](unsigned) {
        const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
        if (child == 0) _exit(0);
        wait_for(child);
    }).print("fork_exit");
    Samples::of(kRounds, [](unsigned) {
        const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
        if (child == 0) {
            execl("/proc/self/exe", "loops", "nothing", nullptr);
            _exit(1);
        }
        wait_for(child);
    }).print("fork_exec");
}

/// A byte to another process and one back: two switches of the page table.
void pipe_round_trip() {
    std::array<int, 2> there{}, back{};
    must(pipe(there.data()), "pipe");
    must(pipe(back.data()), "pipe");
    char byte = 0;
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) must(write(back[1], &byte, 1), "write");
        _exit(0);
    }
    Samples::of(kRounds, [&](unsigned) {
        must(write(there[1], &byte, 1), "write");
        must(read(back[0], &byte, 1), "read");
    }).print("pipe");
    close(there[1]);
    close(there[0]);
    wait_for(child);
}

void mappings() {
    constexpr size_t kSome = 16;
    Samples::of(kRounds, [](unsigned) { unmap(map(kSome), kSome); }).print("mmap");
    Samples::of(kRounds, [](unsigned) {
        char* at = map(kSome);
        for (size_t page = 0; page < kSome; ++page)
            static_cast<volatile char*>(at)[page * kPage] = 1;
        unmap(at, kSome);
    }).print("mmap_touched");
    char* at = map(1);
    *at = 1;
    Samples::of(kRounds, [at](unsigned i) {
        must(mprotect(at, kPage, i % 2 ? PROT_READ | PROT_WRITE : PROT_READ), "mprotect");
    }).print("mprotect");
    unmap(at, 1);
}

void faults() {
    char* at = map(kRounds);
    touch(at, kRounds).print("page_fault");
    std::array<int, 2> hold{};
    must(pipe(hold.data()), "pipe");
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child == 0) {  // shares all pages until the pipe is closed
        char byte = 0;
        close(hold[1]);
        _exit(static_cast<int>(read(hold[0], &byte, 1)));
    }
    touch(at, kRounds).print("copy_on_write");
    close(hold[1]);
    close(hold[0]);
    wait_for(child);
    unmap(at, kRounds);
}

}  // namespace

void run_loops() {
    Samples::of(kRounds, [](unsigned) { syscall(SYS_getppid); }).print("system_call");
    std::signal(SIGUSR1, [](int) {});
    Samples::of(kRounds, [](unsigned) { std::raise(SIGUSR1); }).print("signal");
    mappings();
    faults();
    pipe_round_trip();
    processes();
}

}  // namespace bench
