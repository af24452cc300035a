// What hypercalls were made: counted for `xenperf`, and the last ones kept for the account of a
// panic or a guest's death. In the debug build only: the path is a hundred instructions long.
#pragma once

#include <cstdint>

#include "hv/limits.hpp"

namespace hv {

struct Vcpu;

namespace counters {

#ifdef XENOLITH_DEBUG
inline constexpr bool kOn = true;
#else
inline constexpr bool kOn = false;
#endif

inline constexpr unsigned kHypercallNumbers = 64;

void note_hypercall(const Vcpu& vcpu, uint64_t number, uint64_t first_argument);

/// How often `number` was called since the last reset, on all CPUs together.
uint64_t calls(unsigned number);
void reset();

struct Call {
    uint64_t number, first_argument;
};
/// The vCPU's last call but `back`, among those that this CPU remembers; false if there is none.
bool last_call(const Vcpu& vcpu, unsigned back, Call& call);

}  // namespace counters
}  // namespace hv
