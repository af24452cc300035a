// Writes the information structure of multiboot 2 (specification 2.0, 3.6), which the hypervisor
// reads in hv/x86/boot/multiboot.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "efi/memory_map.hpp"
#include "efi/screen.hpp"

namespace efi {

class BootInformation {
  public:
    /// Into `buffer`, which begins on a multiple of 8.
    explicit BootInformation(std::span<uint8_t> buffer);

    void command_line(std::string_view line);
    void loader(std::string_view name);
    /// A file in memory; `line` begins with its name.
    void module(uint32_t start, uint32_t size, std::string_view line);
    void memory(std::span<const Region> regions);
    void firmware_memory(const MemoryMap& map);
    void system_table(uint64_t address);
    /// ACPI's root pointer, of version 1 (20 bytes) or later (36).
    void root_pointer(std::span<const uint8_t> bytes);
    void screen(const Screen& screen);

    /// Closes it; false if it did not fit.
    bool finish();

    /// Bytes that tags of that many descriptors take at most, besides the texts.
    static size_t bytes_for(size_t descriptors, uint64_t step);

  private:
    template <class T>
    void put(const T& value);
    void put_bytes(const void* bytes, size_t size);
    void text_tag(uint32_t type, std::string_view text);
    void begin(uint32_t type);
    void end();

    std::span<uint8_t> buffer_;
    size_t used_ = 0, tag_ = 0;
    bool fits_ = true;
};

}  // namespace efi
