// A vCPU's periodic timer; the others are armed directly (Vcpu::singleshot_timer).
#pragma once

#include "hv/limits.hpp"

namespace hv {
struct Vcpu;
namespace sched {

/// Raises VIRQ_TIMER on `vcpu` each `period` ns while it runs; 0 stops it.
void set_periodic_timer(Vcpu& vcpu, Nanoseconds period);

}  // namespace sched
}  // namespace hv
