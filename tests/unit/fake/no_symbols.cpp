// The table of functions' names, which is made when the bootable image is linked: empty.
#include <cstdint>

extern "C" {
extern const uint64_t symbol_count, symbol_addresses[];
extern const uint32_t symbol_names[];
extern const char symbol_text[];
const uint64_t symbol_count = 0, symbol_addresses[1] = {};
const uint32_t symbol_names[1] = {};
const char symbol_text[1] = {};
}
