// Segment descriptors, gates and the task state (AMD64 manual vol. 2, chapter 4 and 12.2.5), and
// the selectors that the ABI reserves in every PV guest's GDT (arch-x86/xen-x86_64.h).
#pragma once

#include <cstdint>

#include <xen/xen.h>

#include "hv/limits.hpp"
#include "hv/x86/cpu/offsets.h"

namespace hv::cpu {

inline constexpr uint16_t kReservedGdtStart = FIRST_RESERVED_GDT_BYTE;  // 0xe000
inline constexpr uint16_t kSelRing1Cs32 = 0xe019, kSelRing1Ds32 = 0xe021;
inline constexpr uint16_t kSelRing3Cs32 = 0xe023, kSelRing3Ds32 = 0xe02b, kSelRing3Cs64 = 0xe033;
inline constexpr uint16_t kSelTss = 0xe040, kSelLdt = 0xe050;
inline constexpr uint16_t kGdtLimit = 0xe000 + 0x60 - 1;

static_assert(FLAT_RING3_CS32 == kSelRing3Cs32 && FLAT_RING3_CS64 == kSelRing3Cs64);
static_assert(FLAT_RING3_SS64 == kSelRing3Ds32 && SEL_GUEST_SS == kSelRing3Ds32);

inline constexpr uint64_t kCode64Ring0 = 0x00af9b000000ffff, kData32Ring0 = 0x00cf93000000ffff,
                          kCode32Ring1 = 0x00cfbb000000ffff, kData32Ring1 = 0x00cfb3000000ffff,
                          kCode32Ring3 = 0x00cffb000000ffff, kData32Ring3 = 0x00cff3000000ffff,
                          kCode64Ring3 = 0x00affb000000ffff;

/// What SYSCALL clears of the guest's flags: IF TF DF IOPL NT RF VM AC.
inline constexpr uint64_t kSyscallFlagMask = 0x00077700;
/// PAT as PV guests are told it is.
inline constexpr uint64_t kXenPat = 0x050100070406;

inline constexpr unsigned kIstStacks = 4;
inline constexpr uint64_t kGuardPageOffset = kIstStacks * kPageSize;
constexpr uint8_t ist_of_vector(unsigned vector) {
    return vector == 8 ? 1 : vector == 2 ? 2 : vector == 18 ? 3 : vector == 1 ? 4 : 0;
}

struct Gate {
    uint64_t low = 0, high = 0;

    /// An interrupt gate: IF is off in the handler.
    static constexpr Gate interrupt(uint64_t target, uint16_t selector, uint8_t ist, unsigned dpl) {
        Gate g;
        g.low = (target & 0xffff) | uint64_t{selector} << 16 | uint64_t{ist} << 32 |
                uint64_t{0x8e00u | dpl << 13} << 32 | (target >> 16 & 0xffff) << 48;
        g.high = target >> 32;
        return g;
    }
};

struct SystemDescriptor {
    uint64_t low, high;

    static constexpr SystemDescriptor make(uint64_t base, uint32_t limit, uint64_t type) {
        return {(limit & 0xffff) | (base & 0xffffff) << 16 | type << 40 | uint64_t{1} << 47 |
                    (uint64_t{limit} >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56,
                base >> 32};
    }
    static constexpr SystemDescriptor tss(uint64_t base, uint32_t limit) {
        return make(base, limit, 9);
    }
    static constexpr SystemDescriptor ldt(uint64_t base, uint32_t limit) {
        return make(base, limit, 2);
    }
};

struct [[gnu::packed]] Tss {
    uint32_t reserved0;
    uint64_t rsp0, rsp1, rsp2;
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
};
static_assert(sizeof(Tss) == 104);

}  // namespace hv::cpu
