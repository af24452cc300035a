// What the machine's screen is, as the boot loader left it: for Domain 0's kernel to go on with.
#pragma once

#include <cstdint>
#include <span>

#include <xen/xen.h>

namespace hv::boot {

/// Multiboot 2's framebuffer tag (3.6.12), without the tag's type and size. One that is cut off,
/// or of a kind that Domain 0 cannot be told of, is no screen.
void note_screen(std::span<const uint8_t> tag);

/// Where no loader told of one: whether the BIOS has left VGA's text mode. Its data area must be
/// mapped.
void find_bios_screen();
/// The pure part: what the BIOS's data area (machine address 0x400) says, cut off or not.
void note_bios_screen(std::span<const uint8_t> data_area);

/// As a kernel is told; null: no screen is known. After the loader's tags are read.
const dom0_vga_console_info* screen();

}  // namespace hv::boot
