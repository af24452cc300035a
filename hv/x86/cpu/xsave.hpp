// The memory format of FXSAVE and XSAVE (AMD APM volume 2, 11.4.4 and 11.5; Intel SDM volume 1,
// chapter 13), and the rules for XCR0.
#pragma once

#include <cstdint>
#include <cstring>

namespace hv::xcr0 {
inline constexpr uint64_t kX87 = 1 << 0, kSse = 1 << 1, kAvx = 1 << 2, kBndregs = 1 << 3,
                          kBndcsr = 1 << 4, kOpmask = 1 << 5, kZmmHigh = 1 << 6, kHiZmm = 1 << 7,
                          kPkru = 1 << 9;
inline constexpr uint64_t kAvx512 = kOpmask | kZmmHigh | kHiZmm;
/// The components that the hypervisor saves and restores, and so may be enabled at all.
inline constexpr uint64_t kSupported = kX87 | kSse | kAvx | kAvx512;
}  // namespace hv::xcr0

namespace hv::arch::fpu {

inline constexpr uint16_t kInitialFcw = 0x37f;
inline constexpr uint32_t kInitialMxcsr = 0x1f80;

struct LegacyArea {
    uint16_t fcw;
    uint16_t fsw;
    uint8_t ftw;  ///< abridged: a bit for each register that is in use
    uint8_t reserved;
    uint16_t fop;
    uint64_t fip;
    uint64_t fdp;
    uint32_t mxcsr;
    uint32_t mxcsr_mask;
    uint8_t st[8][16];
    uint8_t xmm[16][16];
    uint8_t unused[96];

    void reset_x87() {
        fcw = kInitialFcw;
        fsw = 0;
        ftw = 0;
        fop = 0;
        fip = fdp = 0;
        memset(st, 0, sizeof(st));
    }
    /// MXCSR is not part of it: XSAVE writes that one always.
    void reset_sse() { memset(xmm, 0, sizeof(xmm)); }
};
static_assert(sizeof(LegacyArea) == 512);

struct XsaveHeader {
    uint64_t xstate_bv;  ///< components that are not in their initial state
    uint64_t xcomp_bv;   ///< 0: standard format
    uint64_t reserved[6];
};

/// Whether XCR0 may become `value` where `allowed` is what may ever be set.
constexpr bool valid_xcr0(uint64_t value, uint64_t allowed) {
    using namespace xcr0;
    if (value & ~allowed || !(value & kX87)) return false;
    if (value & kAvx && !(value & kSse)) return false;
    uint64_t wide = value & kAvx512;
    return !wide || (wide == kAvx512 && value & kAvx);
}

}  // namespace hv::arch::fpu
