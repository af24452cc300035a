// Who made the CPU, as leaf 0 spells it.
#pragma once

#include "hv/x86/cpu/policy.hpp"

namespace hv::arch {

enum class Vendor : uint8_t { kOther, kIntel, kAmd };

/// Hygon's CPUs are AMD's in all that matters here.
constexpr Vendor vendor_of(const CpuPolicy& policy) {
    constexpr uint32_t kGenuineIntel = 0x756e6547, kAuthenticAmd = 0x68747541,
                       kHygonGenuine = 0x6f677948;
    switch (policy.basic[0].b) {
        case kGenuineIntel:
            return Vendor::kIntel;
        case kAuthenticAmd:
        case kHygonGenuine:
            return Vendor::kAmd;
        default:
            return Vendor::kOther;
    }
}

}  // namespace hv::arch
