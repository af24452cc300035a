// What event channels ask of the interrupt room: physical interrupts on behalf of a domain.
// All are called with the domain's event lock (Rank::kEvent) held, but pirq_unmasked().
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

struct Domain;
struct Vcpu;

namespace arch {

/// Delivers `pirq` to `domain` from now on (by event::send_pirq), preferably on the CPU of `vcpu`.
/// `will_share`: other domains may bind the same line. kEINVAL: no such pirq was mapped for the
/// domain; kEPERM: not its to have; kEBUSY: the line belongs to somebody who does not share;
/// kENOMEM.
Result<> pirq_bind(Domain& domain, Pirq pirq, Vcpu& vcpu, bool will_share);

/// Ends that; a line in service is acknowledged on behalf of the domain.
void pirq_unbind(Domain& domain, Pirq pirq);

/// The port has moved to `vcpu`: interrupts should arrive on the CPU it runs on.
void pirq_set_vcpu(Domain& domain, Pirq pirq, Vcpu& vcpu);

/// The guest has unmasked the port of `pirq` (EVTCHNOP_unmask).
void pirq_unmasked(Domain& domain, Pirq pirq);

/// Whether `domain` could have a pirq of that number; and whether it has it.
bool pirq_in_range(const Domain& domain, Pirq pirq);
bool pirq_is_mapped(const Domain& domain, Pirq pirq);

/// For debug key 'i': every line that somebody serves.
void dump_interrupts();

}  // namespace arch
}  // namespace hv
