// From the proximity domains of SRAT and SLIT, which may be any numbers, to nodes 0, 1, 2 …
#pragma once

#include <span>

#include "base/result.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/x86/acpi/tables.hpp"

namespace hv::acpi {

/// At boot, after init() and before memory is added: tells hv/memory/nodes.hpp what the tables say.
/// Tables that leave out some of `ram`, contradict themselves, or have more nodes than are told
/// apart are named in a warning; the machine is one node then, as with `numa=off`.
void init_nodes(std::span<const memory::MachineRange> ram);
/// The pure part, for tests: kENOENT: no SRAT; kEINVAL, kENOSPC as above.
Result<> find_nodes(const Info& info, std::span<const memory::MachineRange> ram);

/// kENOENT: no CPU and no memory has that proximity domain.
Result<Node> node_of_proximity(uint32_t proximity);
/// 0 if the SRAT does not mention it.
Node node_of_apic(const Info& info, uint32_t apic_id);

}  // namespace hv::acpi
