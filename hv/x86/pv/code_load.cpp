#include "hv/x86/cpu/extable.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/pv/code_bytes.hpp"

namespace hv::pv {

uint64_t load_code(uint64_t rip) {
    uint64_t bytes = 0;
    if (rip % kPageSize > kPageSize - sizeof(bytes)) return 0;
    const bool smap = cpu::features().smap;
    if (smap) asm volatile("stac" ::: "memory");
    asm volatile("1: mov (%[from]), %[bytes]\n2:\n\t" EXTABLE("1b", "2b")
                 : [bytes] "+r"(bytes)
                 : [from] "r"(rip)
                 : "memory");
    if (smap) asm volatile("clac" ::: "memory");
    return bytes;
}

}  // namespace hv::pv
