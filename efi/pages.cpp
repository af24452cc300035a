#include "efi/pages.hpp"

#include <utility>

namespace efi {
namespace {

constexpr uint64_t kPage = 4096, kLimit = (uint64_t{1} << 32) - 1;

bool overlap(uint64_t start, uint64_t end, Range range) {
    return start < range.end && range.start < end;
}

}  // namespace

Result<Pages> Pages::allocate(const BootServices& services, uint64_t bytes, Range avoid,
                              std::string_view what, MemoryType type) {
    // What lies in the wrong place is kept while the next is asked for, or it would come again.
    constexpr unsigned kAttempts = 4;
    Pages tried[kAttempts];
    for (Pages& p : tried) {
        const uint64_t count = (bytes + kPage - 1) / kPage;
        uint64_t address = kLimit;
        if (failed(services.allocate_pages(kAllocateMaxAddress, type, count, &address))) break;
        p.services_ = &services, p.address_ = address, p.count_ = count;
        if (!overlap(address, address + count * kPage, avoid)) return std::move(p);
    }
    return fail(Errno::kENOMEM,
                "the firmware has no {} KiB of memory below 4 GiB for {}; use a "
                "smaller file, or a machine with more memory",
                bytes / 1024 + 1, what);
}

Pages& Pages::operator=(Pages&& other) {
    std::swap(services_, other.services_);
    std::swap(address_, other.address_);
    std::swap(count_, other.count_);
    return *this;
}

Pages::~Pages() {
    if (services_) services_->free_pages(address_, count_);
}

std::span<uint8_t> Pages::bytes() const {
    return {reinterpret_cast<uint8_t*>(address_), count_ * kPage};
}

}  // namespace efi
