// The type word of a frame's PageInfo (hv/memory/page.hpp), as the code of page tables takes it
// apart and puts it together.
#pragma once

#include "hv/memory/page.hpp"
#include "hv/x86/paging/entry.hpp"

namespace hv::pv {

inline constexpr uint64_t kCountOne = 1;

constexpr uint64_t type_bits(PageType type) {
    return static_cast<uint64_t>(type) << PageInfo::kTypeShift;
}
constexpr PageType type_of(uint64_t word) {
    return static_cast<PageType>((word & PageInfo::kTypeMask) >> PageInfo::kTypeShift);
}
constexpr uint64_t count_of(uint64_t word) {
    return word & PageInfo::kTypeCountMask;
}
constexpr uint32_t aux_of(uint64_t word) {
    return static_cast<uint32_t>(word >> PageInfo::kAuxShift);
}
constexpr uint64_t with_aux(uint64_t word, uint32_t aux) {
    return (word & ((uint64_t{1} << PageInfo::kAuxShift) - 1)) | uint64_t{aux}
                                                                     << PageInfo::kAuxShift;
}
constexpr bool is_table(PageType type) {
    return type >= PageType::kL1 && type <= PageType::kL4;
}
/// `word` for a table that is being dropped, of which entries [0, left) still hold references.
constexpr uint64_t being_dropped(uint64_t word, uint32_t left) {
    return with_aux((word & ~PageInfo::kValidated) | PageInfo::kPartial | PageInfo::kDropping,
                    left);
}
/// Checked in part, for nobody: the type reference waits with a general one of its own, so that
/// the frame cannot be given away while entries of it are counted.
constexpr bool waits_half_checked(uint64_t word) {
    return (word & PageInfo::kPartial) && !(word & PageInfo::kDropping);
}

}  // namespace hv::pv
