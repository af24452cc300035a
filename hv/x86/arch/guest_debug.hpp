// A guest's memory by the guest's own addresses, seen from outside: for debuggers, and for the
// account of a guest's death.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

struct Domain;

namespace arch {

/// Reads / writes memory of `domain` as its vCPU 0 sees it in kernel mode. The bytes lie in one
/// page. kEFAULT: not mapped, not its own memory, or (writing) a page table or the like.
Result<> peek_guest(Domain& domain, uint64_t linear, std::span<uint8_t> into);
Result<> poke_guest(Domain& domain, uint64_t linear, std::span<const uint8_t> from);

}  // namespace arch
}  // namespace hv
