#include "hv/x86/cpu/extable.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/paging/entry.hpp"
#include "hv/x86/pv/code_bytes.hpp"

namespace hv::pv {

bool load_code(uint64_t rip, uint64_t& bytes) {
    if (rip % kPageSize > kPageSize - sizeof(bytes) || !paging::is_guest_address(rip)) return false;
    uint32_t failed = 1;
    if (cpu::features().smap) asm volatile("stac" ::: "memory");
    asm volatile(
        "1: mov (%[from]), %[bytes]\n\t"
        "xor %[failed], %[failed]\n"
        "2:\n\t" EXTABLE("1b", "2b")
        : [bytes] "=r"(bytes), [failed] "+r"(failed)
        : [from] "r"(rip)
        : "cc", "memory");
    if (cpu::features().smap) asm volatile("clac" ::: "memory");
    return !failed;
}

}  // namespace hv::pv
