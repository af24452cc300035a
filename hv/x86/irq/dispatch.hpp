// The entry of all interrupts.
#pragma once

#include <cstdint>

/// An interrupt on `vector` (0x20 to 0xff) has come: called by the entry code, interrupts off, the
/// interrupted context saved. Acknowledges it. Softirqs it raises are the exit path's.
extern "C" void hv_interrupt(uint8_t vector);
