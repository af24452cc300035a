// What a line does to its pin or message; the caller holds the line's lock.
#pragma once

#include "hv/x86/irq/irq.hpp"

namespace hv::irq {

/// Programs the pin or message for line.vector and line.cpu, masked.
void program(Irq& line);
/// Lets interrupts through, or holds them back.
void set_masked(Irq& line, bool masked);
/// line.cpu has changed; vector and mask have not.
void retarget(Irq& line);

}  // namespace hv::irq
