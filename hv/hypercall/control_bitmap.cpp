#include "hv/hypercall/control_bitmap.hpp"

#include <algorithm>
#include <cstring>

#include "hv/hypercall/guest_ptr.hpp"

namespace hv {

namespace {

constexpr size_t kOurBytes = kMaxCpus / 8;

size_t guest_bytes(const xenctl_bitmap& bitmap) {
    return (size_t{bitmap.nr_bits} + 7) / 8;
}

/// The low `bits` bits of a word.
uint64_t clip(uint64_t word, size_t bits) {
    return bits >= 64 ? word : word & ((uint64_t{1} << bits) - 1);
}

}  // namespace

static_assert(CpuMask::kWords == 1, "the bitmaps below are one word");

Result<CpuMask> load_bitmap(const xenctl_bitmap& from) {
    uint64_t word = 0;
    TRY(arch::copy_from_guest(&word, GuestAddress(from.bitmap).raw(),
                              std::min(guest_bytes(from), kOurBytes)));
    CpuMask mask;
    mask.set_word(0, clip(word, from.nr_bits));
    return mask;
}

Result<> store_bitmap(const xenctl_bitmap& into, const CpuMask& mask) {
    const uint64_t word = clip(mask.word(0), into.nr_bits);
    const size_t bytes = guest_bytes(into);
    const GuestAddress address(into.bitmap);
    TRY(arch::copy_to_guest(address.raw(), &word, std::min(bytes, kOurBytes)));
    if (bytes <= kOurBytes) return {};
    return arch::clear_guest(address.at(kOurBytes, 1), bytes - kOurBytes);
}

}  // namespace hv
