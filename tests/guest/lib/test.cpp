#include "test.hpp"

#include "platform.hpp"
#include "print.hpp"
#include "traps.hpp"

extern "C" const guest::Test tests_start[], tests_end[];

namespace guest {

void (*after_failure)();

namespace {

void* test_resume_sp;
char detail[256];
bool failed;

void run_one(const Test& test) {
    detail[0] = 0;
    failed = false;
    reset_traps();
    print("TEST %s: START\n", test.name);
    const Trap trap = catch_trap([&test] {
        guarded_call([](void* p) { static_cast<const Test*>(p)->run(); }, const_cast<Test*>(&test),
                     &test_resume_sp);
    });
    reset_traps();
    if ((trap.taken || failed) && after_failure) after_failure();
    if (trap.taken) {
        const TrapFrame& f = trap.frame;
        print("TEST %s: FAIL unexpected trap 0x%lx error 0x%lx rip %lx rsp %lx cr2 %lx\n",
              test.name, f.vector, f.error, f.rip, f.rsp, trap.cr2);
        return;
    }
    print("TEST %s: %s %s\n", test.name, failed ? "FAIL" : "PASS", detail);
}

bool listed(const char* list, const char* name) {
    const size_t length = strlen(name);
    while (*list && *list != ' ') {
        if (!strncmp(list, name, length) &&
            (!list[length] || list[length] == '+' || list[length] == ' '))
            return true;
        while (*list && *list != ' ' && *list != '+') ++list;
        if (*list == '+') ++list;
    }
    return false;
}

/// Bit `index` of a hexadecimal number of any length, most significant digit first.
bool bit_of_hex(const char* hex, unsigned index) {
    unsigned digits = 0;
    while (hex[digits] && hex[digits] != ' ') ++digits;
    if (index / 4 >= digits) return false;
    const char c = hex[digits - 1 - index / 4];
    const unsigned value = c <= '9' ? c - '0' : c - 'a' + 10;
    return value >> (index % 4) & 1;
}

}  // namespace

void fail(const char* fmt, ...) {
    va_list args;
    va_start(args, fmt);
    format(detail, sizeof detail, fmt, args);
    va_end(args);
    failed = true;
    guarded_unwind(test_resume_sp);
}

void fail_check(const char* file, int line, const char* text) {
    fail("%s:%d: %s", file, line, text);
}

void fail_equal(const char* file, int line, const char* text, unsigned long got,
                unsigned long want) {
    fail("%s:%d: %s is 0x%lx (%ld), not 0x%lx (%ld)", file, line, text, got, got, want, want);
}

void note(const char* fmt, ...) {
    va_list args;
    va_start(args, fmt);
    format(detail, sizeof detail, fmt, args);
    va_end(args);
}

void announce_end() {
    print("ENDING\n");
}

void run_tests() {
    const char* names = option("tests");
    const char* mask = option("mask");
    for (const Test* test = tests_start; test != tests_end; ++test) {
        if (names && !listed(names, test->name)) continue;
        if (mask && !bit_of_hex(mask, test - tests_start)) continue;
        run_one(*test);
    }
    print("TESTS DONE\n");
}

}  // namespace guest
