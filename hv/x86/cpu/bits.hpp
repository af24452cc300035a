// Bits of control registers and of RFLAGS, as the manuals name them.
#pragma once

#include <cstdint>

namespace hv::cr0 {
inline constexpr uint64_t kPe = 1 << 0, kMp = 1 << 1, kEm = 1 << 2, kTs = 1 << 3, kEt = 1 << 4,
                          kNe = 1 << 5, kWp = 1 << 16, kAm = 1 << 18, kNw = 1 << 29, kCd = 1 << 30,
                          kPg = 1u << 31;
}

namespace hv::cr4 {
inline constexpr uint64_t kTsd = 1 << 2, kDe = 1 << 3, kPse = 1 << 4, kPae = 1 << 5, kMce = 1 << 6,
                          kPge = 1 << 7, kOsfxsr = 1 << 9, kOsxmmexcpt = 1 << 10, kUmip = 1 << 11,
                          kFsgsbase = 1 << 16, kPcide = 1 << 17, kOsxsave = 1 << 18,
                          kSmep = 1 << 20, kSmap = 1 << 21;
}

namespace hv::eflags {
inline constexpr uint64_t kCf = 1 << 0, kPf = 1 << 2, kAf = 1 << 4, kZf = 1 << 6, kSf = 1 << 7,
                          kTf = 1 << 8, kIf = 1 << 9, kDf = 1 << 10, kOf = 1 << 11, kIopl = 3 << 12,
                          kRf = 1 << 16;
inline constexpr uint64_t kArithmetic = kCf | kPf | kAf | kZf | kSf | kOf;
}  // namespace hv::eflags
