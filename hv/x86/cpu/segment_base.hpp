// The FS and GS bases, which are wholly the guest's. GS of the mode that does not run waits in
// KERNEL_GS_BASE, so that changing mode is one SWAPGS.
#pragma once

#include <cstdint>

#include "hv/x86/cpu/extable.hpp"
#include "hv/x86/cpu/msr.hpp"

namespace hv::cpu {

/// Whether the instructions for it may be used now: the guest decides (CR4.FSGSBASE).
inline bool fsgsbase_on() {
    return read_cr4() & kCr4FsGsBase;
}

inline uint64_t read_fs_base() {
    if (!fsgsbase_on()) return arch::read_msr(arch::msr::kFsBase);
    uint64_t base;
    asm volatile("rdfsbase %0" : "=r"(base));
    return base;
}
inline uint64_t read_gs_base() {
    if (!fsgsbase_on()) return arch::read_msr(arch::msr::kGsBase);
    uint64_t base;
    asm volatile("rdgsbase %0" : "=r"(base));
    return base;
}
inline uint64_t read_other_gs_base() {
    return arch::read_msr(arch::msr::kKernelGsBase);
}

/// All three: canonical addresses only.
inline void write_fs_base(uint64_t base) {
    if (fsgsbase_on())
        asm volatile("wrfsbase %0" ::"r"(base));
    else
        arch::write_msr(arch::msr::kFsBase, base);
}
inline void write_gs_base(uint64_t base) {
    if (fsgsbase_on())
        asm volatile("wrgsbase %0" ::"r"(base));
    else
        arch::write_msr(arch::msr::kGsBase, base);
}
inline void write_other_gs_base(uint64_t base) {
    arch::write_msr(arch::msr::kKernelGsBase, base);
}

/// Loads a data segment register; a selector that the guest's tables do not have becomes 0.
/// True if it was loaded as asked.
#define XENOLITH_LOAD_SELECTOR(name)                      \
    inline bool load_##name(uint16_t selector) {          \
        uint32_t value = selector;                        \
        uint32_t bad = 0;                                 \
        asm volatile("1: mov %0, %%" #name                \
                     "\n\t"                               \
                     "jmp 3f\n"                           \
                     "2: xor %0, %0\n\t"                  \
                     "mov %0, %%" #name                   \
                     "\n\t"                               \
                     "mov $1, %1\n"                       \
                     "3:\n\t" EXTABLE("1b", "2b")         \
                     : "+r"(value), "+r"(bad)::"memory"); \
        return !bad;                                      \
    }
XENOLITH_LOAD_SELECTOR(ds)
XENOLITH_LOAD_SELECTOR(es)
XENOLITH_LOAD_SELECTOR(fs)
XENOLITH_LOAD_SELECTOR(gs)
#undef XENOLITH_LOAD_SELECTOR

/// SEGBASE_GS_USER_SEL: the user's GS selector, from kernel mode.
inline void load_user_gs(uint16_t selector) {
    asm volatile("swapgs");
    load_gs(selector);
    asm volatile("mfence; swapgs");
}

}  // namespace hv::cpu
