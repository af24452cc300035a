// Memory below 4 GiB from the firmware, which goes back to it unless the hypervisor is entered.
#pragma once

#include <cstdint>
#include <span>

#include "efi/console.hpp"
#include "efi/firmware.hpp"

namespace efi {

/// Of machine addresses: where the hypervisor's image is going to lie.
struct Range {
    uint64_t start, end;
};

class Pages {
  public:
    /// For `bytes`, outside of `avoid`, and aligned to a page. kENOMEM; `what` is named in the line
    /// that says so.
    static Result<Pages> allocate(const BootServices& services, uint64_t bytes, Range avoid,
                                  std::string_view what, MemoryType type = MemoryType::kLoaderData);
    Pages() = default;
    Pages(Pages&& other) : Pages() { *this = static_cast<Pages&&>(other); }
    Pages& operator=(Pages&& other);
    ~Pages();

    uint32_t address() const { return static_cast<uint32_t>(address_); }
    std::span<uint8_t> bytes() const;

  private:
    const BootServices* services_ = nullptr;
    uint64_t address_ = 0, count_ = 0;
};

}  // namespace efi
