// How much of the machine Domain 0 gets: memory and vCPUs, as the boot line says.
#pragma once

#include <cstdint>

#include "hv/x86/boot/options.hpp"

namespace hv::pv {

struct Dom0Size {
    uint64_t pages;      ///< to start with
    uint64_t max_pages;  ///< it may balloon up to this
    uint64_t asked;      ///< more than `pages`: the machine does not have what the boot line wants
};

/// How much `dom0_mem=` asks for when `available` pages could be given, as Xen reads it
/// (docs/misc/xen-command-line): clamped by min and max; without a size all but a sixteenth, at
/// most 128 MiB.
Dom0Size dom0_size(const boot::Options& options, uint64_t available);

/// Of `free` pages, those that the hypervisor keeps for itself: page structs and M2P of what is
/// handed out (24 bytes a page), and its heap.
uint64_t hypervisor_reserve(uint64_t free);

/// How many vCPUs `dom0_max_vcpus=` gives Domain 0 on a machine with `cpus` of them.
unsigned dom0_vcpus(const boot::Options& options, unsigned cpus);

}  // namespace hv::pv
