// What another CPU does once it is in long mode on its own stack.
#pragma once

#include "hv/limits.hpp"

namespace hv::boot {

/// Entered from trampoline.S with temporary page tables.
extern "C" [[noreturn]] void secondary_start(CpuId cpu);

/// Whether `cpu` runs our code and compares its clock with the boot CPU's next.
bool secondary_has_begun(CpuId cpu);

}  // namespace hv::boot
