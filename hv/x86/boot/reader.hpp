// Bytes of a file from outside: every access is checked against its end.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::boot {

using Bytes = std::span<const uint8_t>;

/// The part of `file` from `offset` on of `size` bytes; kENODATA if it is not all there.
inline Result<Bytes> slice(Bytes file, uint64_t offset, uint64_t size) {
    if (offset > file.size() || size > file.size() - offset) return Errno::kENODATA;
    return file.subspan(offset, size);
}

/// A copy of the T at `offset` (any alignment); kENODATA if it is not all there.
template <class T>
Result<T> load(Bytes file, uint64_t offset) {
    static_assert(std::is_trivially_copyable_v<T>);
    Bytes part = TRY(slice(file, offset, sizeof(T)));
    T value;
    __builtin_memcpy(&value, part.data(), sizeof value);
    return value;
}

}  // namespace hv::boot
