// Which CPUs share a core and a package, as the tools show it (`xl info -n`, cpus= by core).
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::arch {

struct CpuPlace {
    uint32_t core;     ///< number of the core within its package
    uint32_t package;  ///< number of the package (socket)
};
/// `cpu` is online.
CpuPlace place_of(CpuId cpu);
/// The node a CPU is near to.
uint8_t node_of_cpu(CpuId cpu);

/// The node a PCI function is near to: XEN_INVALID_NODE_ID if Domain 0 did not say. kENODEV: Domain
/// 0 has told of no such function.
Result<uint32_t> node_of_pci(uint16_t segment, uint8_t bus, uint8_t devfn);

}  // namespace hv::arch
