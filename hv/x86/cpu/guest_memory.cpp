// Copies between the hypervisor and the loaded guest's linear addresses. The processor checks the
// access; what it cannot know is that our own range is not the guest's.
#include "arch/guest_memory.hpp"

#include "hv/x86/cpu/extable.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/paging/entry.hpp"

namespace hv::arch {
namespace {

/// Every byte of [linear, linear + bytes) may be the guest's.
bool range_is_guests(uint64_t linear, size_t bytes) {
    uint64_t end;
    if (__builtin_add_overflow(linear, bytes, &end)) return end == 0 && linear != 0;
    if (bytes == 0) return true;
    if (!paging::is_guest_address(linear) || !paging::is_guest_address(end - 1)) return false;
    return (linear < paging::kHypervisorStart) == (end - 1 < paging::kHypervisorStart);
}

/// Supervisor access to user pages, which SMAP otherwise forbids.
class UserAccess {
  public:
    UserAccess() {
        if (cpu::features().smap) asm volatile("stac" ::: "memory");
    }
    ~UserAccess() {
        if (cpu::features().smap) asm volatile("clac" ::: "memory");
    }
};

/// The bytes not copied (0: all).
size_t copy(void* to, const void* from, size_t bytes) {
    UserAccess open;
    size_t words = bytes / 8;
    size_t rest = bytes % 8;
    size_t left = 0;
    asm volatile(
        "1: rep movsq\n\t"
        "mov %[rest], %%rcx\n\t"
        "2: rep movsb\n\t"
        "jmp 4f\n"
        "3: lea 1(%[rest], %%rcx, 8), %[left]\n\t"
        "jmp 4f\n"
        "5: lea 1(%%rcx), %[left]\n"
        "4:\n\t" EXTABLE("1b", "3b") EXTABLE("2b", "5b")
        : "+D"(to), "+S"(from), "+c"(words), [left] "+r"(left)
        : [rest] "r"(rest)
        : "memory");
    return left;
}

}  // namespace

Result<> copy_from_guest(void* to, uint64_t guest_linear, size_t bytes) {
    if (!range_is_guests(guest_linear, bytes)) return Errno::kEFAULT;
    if (copy(to, reinterpret_cast<const void*>(guest_linear), bytes)) return Errno::kEFAULT;
    return {};
}

Result<> copy_to_guest(uint64_t guest_linear, const void* from, size_t bytes) {
    if (!range_is_guests(guest_linear, bytes)) return Errno::kEFAULT;
    if (copy(reinterpret_cast<void*>(guest_linear), from, bytes)) return Errno::kEFAULT;
    return {};
}

Result<> clear_guest(uint64_t guest_linear, size_t bytes) {
    if (!range_is_guests(guest_linear, bytes)) return Errno::kEFAULT;
    UserAccess open;
    void* to = reinterpret_cast<void*>(guest_linear);
    size_t left = bytes;
    asm volatile("1: rep stosb\n2:\n\t" EXTABLE("1b", "2b")
                 : "+D"(to), "+c"(left)
                 : "a"(0)
                 : "memory");
    if (left) return Errno::kEFAULT;
    return {};
}

}  // namespace hv::arch
