// The NUMA nodes that a guest is told it has (XEN_DOMCTL_setvnumainfo): which of its memory and of
// its vCPUs belong to each, and on which of the machine's nodes that memory lies.
#pragma once

#include <cstdint>

#include <xen/xen.h>

#include <xen/memory.h>

#include "hv/memory/heap.hpp"

namespace hv {

struct VirtualNodes {
    uint32_t count = 0;
    heap::OwnedArray<uint32_t> distances;  ///< count * count
    heap::OwnedArray<uint8_t> nodes;       ///< the machine's node of each
    heap::OwnedArray<uint32_t> of_vcpus;   ///< one for each vCPU of the domain
    heap::OwnedArray<xen_vmemrange_t> ranges;
};

}  // namespace hv
