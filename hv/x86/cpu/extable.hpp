// Instructions that may fault on purpose, and where to go on then.
#pragma once

#include <cstdint>

/// In inline assembly: `EXTABLE("1b", "2b")`: a fault at 1 continues at 2. The entry joins the
/// section group of its function ("?"), so that it is dropped with a function that is not kept.
#define EXTABLE(fault, go_on)           \
    ".pushsection .extable, \"a?\"\n\t" \
    ".balign 8\n\t"                     \
    ".quad " fault ", " go_on           \
    "\n\t"                              \
    ".popsection\n\t"

namespace hv::cpu {

/// The address to go on at after a fault at `rip`; 0: none, the fault is a bug.
uint64_t find_fixup(uint64_t rip);

}  // namespace hv::cpu
