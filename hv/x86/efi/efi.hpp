// A machine that was started by UEFI: what its firmware left, and calls of its run-time services.
//
// The loader has left the boot services. What remains is the system table and the memory that the
// firmware marked as its own for run time; that is seen at its machine addresses, in page tables
// of their own, only while a service runs.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/x86/efi/abi.hpp"

namespace hv::efi {

/// What the loader says, before memory is used for something else: `system_table` is a machine
/// address (0: not started by UEFI).
void note_system_table(uint64_t system_table);
/// The firmware's memory map, `step` bytes a descriptor (of which the last may be cut off). More
/// than is kept is told at init().
void note_memory_map(std::span<const uint8_t> map, uint32_t step);

/// Reads the system table and makes the run-time services callable, unless `runtime` is false
/// (`efi=no-rs`). Once, when arch::map_device and the allocator work. Firmware that makes no sense
/// is told in the log and left alone.
void init(bool runtime);

/// The copy of the system table; null if the machine was not started by UEFI.
const SystemTable* system_table();
/// The specification's revision that the run-time services are of; 0: they cannot be called.
uint32_t runtime_revision();
/// The firmware maker's name, without the terminating 0.
std::span<const char16_t> vendor();
/// The descriptor whose memory `machine_address` lies in; null: none.
const MemoryDescriptor* find_memory(uint64_t machine_address);

namespace detail {
Status call_runtime(Status (*call)(const RuntimeServices&, void*), void* argument);
}

/// Calls a run-time service: `call(services)` runs with the firmware's memory mapped, the caller's
/// FPU state put aside, and nobody else in the firmware; it must touch no guest memory. What
/// services are handed must be the hypervisor's own memory. Only if runtime_revision() is not 0,
/// by a vCPU that is current.
template <class Fn>
Status with_runtime(Fn call) {
    return detail::call_runtime(
        [](const RuntimeServices& services, void* fn) { return (*static_cast<Fn*>(fn))(services); },
        &call);
}

}  // namespace hv::efi
