// Where the hypervisor's image has to lie, read from its ELF header.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace efi {

/// Machine addresses below 4 GiB.
struct Placement {
    std::span<const uint8_t> bytes;  ///< of the file, to be copied to `start`
    uint32_t start = 0;
    uint32_t memory_size = 0;  ///< at least as many; zeros follow the file's
    uint32_t entry = 0;

    uint64_t end() const { return uint64_t{start} + memory_size; }
};

/// Nothing, if it is not a 64-bit ELF file of one loadable piece with its entry inside.
std::optional<Placement> find_placement(std::span<const uint8_t> elf);

}  // namespace efi
