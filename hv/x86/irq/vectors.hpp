// Who has which interrupt vector.
//
//   00-1f exceptions   20-2f the legacy PICs (masked; only spurious interrupts come)
//   30-ef devices, one line each, the same on all CPUs (without 80 and 82: guests' `int`)
//   f0-ff the hypervisor's own, above all devices in priority
//
// A device vector names one line on every CPU: moving a line to another CPU changes its
// destination only, and an interrupt on its way to the old CPU still finds its line.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::irq {

inline constexpr uint8_t kVectorPicFirst = 0x20;
inline constexpr uint8_t kVectorPicLast = 0x2f;
inline constexpr uint8_t kVectorDeviceFirst = 0x30;
inline constexpr uint8_t kVectorDeviceLast = 0xef;
inline constexpr uint8_t kVectorTimer = 0xfa;     ///< this CPU's timer is due
inline constexpr uint8_t kVectorKick = 0xfb;      ///< look at your softirqs
inline constexpr uint8_t kVectorFlush = 0xfc;     ///< serve TLB flush requests
inline constexpr uint8_t kVectorError = 0xfe;     ///< the local APIC met an error
inline constexpr uint8_t kVectorSpurious = 0xff;  ///< needs no EOI

struct Irq;

/// Gives `line` a vector of its own; kENOSPC when none is left. Lines of IRQ locks may be held.
Result<uint8_t> allocate_vector(Irq& line);
/// The line must be masked, with no interrupt of it on the way.
void free_vector(uint8_t vector);
/// The line of a device vector; nullptr: nobody's.
Irq* line_of_vector(uint8_t vector);

}  // namespace hv::irq
