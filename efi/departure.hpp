// Leaving the firmware for the hypervisor: out of 64-bit mode, the image into its place, and in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace efi {

/// What departure.S needs once it has no stack any more. Machine addresses below 4 GiB.
struct Departure {
    uint32_t staged;       ///< the image's bytes are copied from here
    uint32_t destination;  ///< to here,
    uint32_t bytes;
    uint32_t zeros;        ///< that many zeros behind them,
    uint32_t entry;        ///< and this is jumped to
    uint32_t information;  ///< of multiboot 2
};

extern "C" {
/// The code, which is copied into memory below 4 GiB and called there; it needs no relocation.
/// The firmware's page tables are still in force, with memory mapped as it is (UEFI 2.3.4).
extern const uint8_t departure_code[], departure_code_end[];
}

}  // namespace efi
