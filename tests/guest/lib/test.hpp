// A test is a function with a name, the call or fault that it covers, and options for run.py:
//
//   TEST(name, "covers", "options") { CHECK(...); }
// options, joined by ';' (run.py acts on them, the guest does not):
//   own-boot          must run alone: it changes the machine for good
//   crash             ends its domain: run.py wants the hypervisor to say that Domain 0 crashed
//   ends=REGEX        ends the machine: the console must match after the test's ENDING line
//   vcpus=2           Domain 0 gets that many vCPUs
//   cpus=2            the machine has that many CPUs; nodes: in two NUMA nodes, with cpus=2
//   args=...          added to the hypervisor's boot line
//   image=linux       run in the image with the notes that Debian's kernel has
//   packed=FORMAT     the image in a bzImage, packed so (bzimage.py)
//   skip=REASON       the emulator's defect: not run on either hypervisor
//   missing=REASON    not built yet (docs/abi-coverage.md): has to fail on Xenolith until it is
//   differs=REASON    a difference on purpose: only Xenolith has to pass
//   differs-isolated=REASON  the same, when page tables are isolated (xpti=true)
#pragma once

#include "xen.hpp"

namespace guest {

struct Test {
    const char* name;
    void (*run)();
};

/// Ends the running test as failed.
[[noreturn, gnu::format(printf, 1, 2)]] void fail(const char* fmt, ...);
[[noreturn]] void fail_check(const char* file, int line, const char* text);
[[noreturn]] void fail_equal(const char* file, int line, const char* text, unsigned long got,
                             unsigned long want);
/// Shown behind the verdict.
[[gnu::format(printf, 1, 2)]] void note(const char* fmt, ...);
/// Says that what follows is meant to end the domain or the machine.
void announce_end();

/// Called after a test that failed, to take away what it left; set by whoever made something.
extern void (*after_failure)();

/// Runs the tests that the command line names: tests=a+b (a comma ends a module for QEMU) or
/// mask=HEX (bit n: n-th test); without either, all.
void run_tests();

}  // namespace guest

#define TEST(name_, covers_, options_)                                                         \
    static void test_##name_();                                                                \
    [[gnu::section(".testmeta." #name_), gnu::used]] static const char meta_##name_[] =        \
        #name_ "\t" covers_ "\t" options_ "\n";                                                \
    [[gnu::section(".tests." #name_), gnu::used]] static const ::guest::Test entry_##name_ = { \
        #name_, test_##name_};                                                                 \
    static void test_##name_()

#define CHECK(condition_)                                                             \
    do {                                                                              \
        if (!(condition_)) ::guest::fail_check(__FILE_NAME__, __LINE__, #condition_); \
    } while (0)

#define CHECK_EQ(got_, want_)                                                             \
    do {                                                                                  \
        const auto got_value_ = (unsigned long)(got_);                                    \
        const auto want_value_ = (unsigned long)(want_);                                  \
        if (got_value_ != want_value_)                                                    \
            ::guest::fail_equal(__FILE_NAME__, __LINE__, #got_, got_value_, want_value_); \
    } while (0)
