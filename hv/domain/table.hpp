// The domains by id, found without a lock. Inside hv/domain, and for the memory room.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

struct Domain;

namespace domain_table {

/// The domain of that id, without a reference: for callers under RCU that take one at once
/// (Domain::get() may refuse), or that hold something that keeps it alive (a frame of it).
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
