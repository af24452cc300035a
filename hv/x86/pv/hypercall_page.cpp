#include "hv/x86/pv/hypercall_page.hpp"

#include <xen/xen.h>

namespace hv::pv {
namespace {

constexpr size_t kEntrySize = 32;

/// push %rcx; push %r11; mov $number, %eax; syscall; pop %r11; pop %rcx; ret
// SYSCALL overwrites rcx and r11, which a C function call need not preserve, but callers rely on
// it.
constexpr uint8_t kCall[] = {0x51, 0x41, 0x53, 0xb8, 0,    0,    0,
                             0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
constexpr size_t kCallNumber = 4;

/// push %rcx; push %r11; push %rax; mov $number, %eax; syscall
// iret does not return here; its frame on the stack has rcx, r11 and rax on top (struct
// iret_context in xen-x86_64.h).
constexpr uint8_t kIret[] = {0x51, 0x41, 0x53, 0x50, 0xb8, 0, 0, 0, 0, 0x0f, 0x05};
constexpr size_t kIretNumber = 5;

constexpr uint8_t kInt3 = 0xcc;

static_assert(sizeof kCall <= kEntrySize && sizeof kIret <= kEntrySize);

}  // namespace

void fill_hypercall_page(uint8_t* page) {
    __builtin_memset(page, kInt3, kPageSize);
    for (uint32_t number = 0; number < kPageSize / kEntrySize; ++number) {
        uint8_t* entry = page + number * kEntrySize;
        if (number == __HYPERVISOR_iret) {
            __builtin_memcpy(entry, kIret, sizeof kIret);
            __builtin_memcpy(entry + kIretNumber, &number, sizeof number);
        } else {
            __builtin_memcpy(entry, kCall, sizeof kCall);
            __builtin_memcpy(entry + kCallNumber, &number, sizeof number);
        }
    }
}

}  // namespace hv::pv
