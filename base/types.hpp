// The field's numbers as types, and the units they come in.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/strong.hpp"

namespace base {

using Mfn = Strong<struct MfnTag, uint64_t>;        ///< machine frame number
using Gfn = Strong<struct GfnTag, uint64_t>;        ///< guest frame number as a hypercall names it
using Pfn = Strong<struct PfnTag, uint64_t>;        ///< guest pseudo-physical frame number
using DomId = Strong<struct DomIdTag, uint16_t>;    ///< domain id, DOMID_* included
using VcpuId = Strong<struct VcpuIdTag, uint32_t>;  ///< index of a vCPU in its domain
using Port = Strong<struct PortTag, uint32_t>;      ///< event channel port
using GrantRef = Strong<struct GrantRefTag, uint32_t>;
using Pirq = Strong<struct PirqTag, uint32_t>;  ///< physical IRQ as a domain names it
using CpuId = uint32_t;                         ///< index of an online pCPU, not the APIC id
using Nanoseconds = int64_t;                    ///< system time since boot, or a duration

inline constexpr Mfn kInvalidMfn{~uint64_t{0}};
inline constexpr Gfn kInvalidGfn{~uint64_t{0}};

inline constexpr unsigned kPageShift = 12;
inline constexpr size_t kPageSize = size_t{1} << kPageShift;
inline constexpr uint64_t kPageMask = ~uint64_t{kPageSize - 1};

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

inline constexpr Nanoseconds kMicrosecond = 1000;
inline constexpr Nanoseconds kMillisecond = 1000 * kMicrosecond;
inline constexpr Nanoseconds kSecond = 1000 * kMillisecond;

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}
constexpr uint64_t pages_of(uint64_t bytes) {
    return (bytes + kPageSize - 1) >> kPageShift;
}
constexpr Mfn mfn_of(uint64_t machine_address) {
    return Mfn{machine_address >> kPageShift};
}
constexpr uint64_t address_of(Mfn mfn) {
    return mfn.raw() << kPageShift;
}

}  // namespace base
