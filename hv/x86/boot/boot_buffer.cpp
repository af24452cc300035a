#include "hv/x86/boot/boot_buffer.hpp"

#include <bit>

#include "arch/memory.hpp"
#include "hv/memory/allocator.hpp"

namespace hv::boot {
namespace {

/// Frees [first, end), which lies in one block, in the largest aligned pieces.
void free_range(Mfn first, Mfn end) {
    while (first < end) {
        const auto aligned = static_cast<unsigned>(std::countr_zero(first.raw()));
        const auto fitting = static_cast<unsigned>(std::bit_width(end - first)) - 1;
        const unsigned order = aligned < fitting ? aligned : fitting;
        memory::free_frames(first, order);
        first += uint64_t{1} << order;
    }
}

}  // namespace

Result<BootBuffer> BootBuffer::create(uint64_t bytes) {
    const uint64_t pages = pages_of(bytes);
    if (pages == 0) return BootBuffer{};
    const auto order = static_cast<unsigned>(std::bit_width(pages - 1));
    BootBuffer buffer;
    buffer.first_ = TRY(memory::alloc_frames(order, {.zeroed = false}));
    buffer.pages_ = pages;
    free_range(buffer.first_ + pages, buffer.first_ + (uint64_t{1} << order));
    return buffer;
}

void BootBuffer::release() {
    if (pages_) free_range(first_, first_ + pages_);
    pages_ = 0;
}

uint8_t* BootBuffer::data() const {
    return arch::mfn_to_virt<uint8_t>(first_);
}

}  // namespace hv::boot
