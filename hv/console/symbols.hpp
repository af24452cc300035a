// The names of the hypervisor's own functions, for backtraces and for tools (XENPF_get_symbol). The
// table is made from the linked image (cmake/symbols.py); in the host build it is not there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv::symbols {

struct Symbol {
    uint64_t address;
    char type;  ///< as `nm` says: T, or t for one that only its file knows
    std::string_view name;
};

size_t count();
/// The `index`-th by address; `index` is below count().
Symbol at(size_t index);

/// The function that `address` lies in, and how far; an empty name before the first.
struct Place {
    std::string_view name;
    uint64_t offset;
};
Place place_of(uint64_t address);

}  // namespace hv::symbols
