#include "hv/console/symbols.hpp"

#include <algorithm>

extern "C" {
extern const uint64_t symbol_count;
extern const uint64_t symbol_addresses[];
extern const uint32_t symbol_names[];  // offsets into the text
extern const char symbol_text[];       // for each the type, the name, and a zero
}

namespace hv::symbols {

size_t count() {
    return symbol_count;
}

Symbol at(size_t index) {
    const char* text = symbol_text + symbol_names[index];
    return {symbol_addresses[index], text[0], text + 1};
}

Place place_of(uint64_t address) {
    const uint64_t* end = symbol_addresses + count();
    const uint64_t* above = std::upper_bound(symbol_addresses, end, address);
    if (above == symbol_addresses) return {{}, 0};
    const Symbol symbol = at(static_cast<size_t>(above - 1 - symbol_addresses));
    return {symbol.name, address - symbol.address};
}

}  // namespace hv::symbols
