// A walk through a guest's page tables by software: what the processor would find.
#pragma once

#include <cstdint>

#include "hv/limits.hpp"

namespace hv {
struct Domain;
}

namespace hv::pv {

struct Walk {
    /// Entries from L4 (first) on, as far as the walk got.
    uint64_t entries[4] = {};
    unsigned depth = 0;     ///< how many of them were read
    bool complete = false;  ///< all four levels are present: `frame` is mapped there
    Mfn frame = kInvalidMfn;
};

/// From table `l4` of `domain` to `linear`. Reads only frames that `domain` owns as tables, so it
/// is safe whatever the entries say; exact only while nobody changes them (the domain's paging
/// lock, or a paused domain).
Walk walk(const Domain& domain, Mfn l4, uint64_t linear);

}  // namespace hv::pv
