#include "hv/x86/boot/frame_buffer.hpp"

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

Result<FrameBuffer> FrameBuffer::create(uint64_t bytes) {
    const uint64_t pages = pages_of(bytes);
    if (pages == 0) return FrameBuffer{};
    const auto order = static_cast<unsigned>(std::bit_width(pages - 1));
    FrameBuffer buffer;
    buffer.first_ = TRY(memory::alloc_frames(order, {.zeroed = false}));
    buffer.pages_ = pages;
    free_range(buffer.first_ + pages, buffer.first_ + (uint64_t{1} << order));
    return buffer;
}

void FrameBuffer::release() {
    if (pages_) free_range(first_, first_ + pages_);
    pages_ = 0;
}

uint8_t* FrameBuffer::data() const {
    return arch::mfn_to_virt<uint8_t>(first_);
}

}  // namespace hv::boot
