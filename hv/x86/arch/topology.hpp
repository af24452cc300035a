// Which CPUs share a core and a package, as the tools show it (`xl info -n`, cpus= by core).
#pragma once

#include <cstdint>

#include "hv/limits.hpp"

namespace hv::arch {

struct CpuPlace {
    uint32_t core;     ///< number of the core within its package
    uint32_t package;  ///< number of the package (socket)
};
/// `cpu` is online.
CpuPlace place_of(CpuId cpu);

}  // namespace hv::arch
