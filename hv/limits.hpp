// Sizes that several rooms share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bitmap.hpp"
#include "base/types.hpp"

namespace hv {

using namespace base;  // the field's types are part of every room's vocabulary
using base::mfn_of;    // beside hv::mfn_of(const PageInfo&)

inline constexpr size_t kMaxCpus = 64;  ///< physical CPUs; one word, so that masks are cheap
inline constexpr size_t kMaxVcpusPerDomain = 128;
inline constexpr uint16_t kFirstReservedDomId = 0x7FF0;  // DOMID_FIRST_RESERVED

using CpuMask = Bitmap<kMaxCpus>;
using AtomicCpuMask = AtomicBitmap<kMaxCpus>;

/// One T for each physical CPU, in the image's zeroed data.
template <class T>
class PerCpu {
  public:
    constexpr T& on(CpuId cpu) { return slots_[cpu].value; }
    constexpr const T& on(CpuId cpu) const { return slots_[cpu].value; }

  private:
    struct alignas(64) Slot {  // a cache line each: no false sharing
        T value{};
    };
    Slot slots_[kMaxCpus];
};

}  // namespace hv
