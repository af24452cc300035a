// The domains by id, found without a lock. Inside hv/domain, and for the memory room.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

struct Domain;

namespace domain_table {

/// The domain of that id, without a reference: RCU keeps its memory until the calling hypercall has
/// ended (an interruption is such an end), though it may be dead already. Who wants it for longer
/// takes a reference (Domain::get() may refuse), or holds something that keeps it (a frame of it).
Domain* peek(DomId id);

/// kEEXIST: the id is taken; kEINVAL: no id of a domain.
Result<> enter(Domain& domain);
void leave(Domain& domain);

/// The first domain of an id not below `from`; nullptr: none. Without a reference.
Domain* next(DomId from);

/// An id above 0 that is free now, the one after the last that was given out first: the tools
/// take an id that comes back within a minute for a mistake. kENOMEM.
Result<DomId> free_id();

}  // namespace domain_table
}  // namespace hv
