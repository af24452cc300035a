// Which CPUs take part.
#pragma once

#include "hv/limits.hpp"

namespace hv::irq {

/// From here on `cpu` is sent IPIs and counts in arch::online_cpus(). On the CPU itself, when it is
/// ready for both.
void mark_online(CpuId cpu);

/// A kick has arrived on this CPU.
void note_kick();

}  // namespace hv::irq
