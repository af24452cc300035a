// What Domain 0 finds when it starts: its start info, vCPUs and first registers.
#pragma once

#include <string_view>

#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/boot/module.hpp"
#include "hv/x86/pv/dom0_layout.hpp"
#include "hv/x86/pv/dom0_memory.hpp"

namespace hv::pv {

/// struct start_info and the shared info's first state. The command line is the module's, then
/// what the boot line has behind ` -- `; it is cut, with a warning, at MAX_GUEST_CMDLINE.
void write_start_info(Domain& domain, Dom0Frames& frames, const Dom0Layout& layout,
                      const boot::BootModule& initrd, std::string_view command_line);

/// vCPUs 0 … `count` - 1, down; `pin`: vCPU N may run on CPU N only (modulo the CPUs there are).
Result<> add_vcpus(Domain& domain, unsigned count, bool pin);

/// Gives vCPU 0 its first registers and brings it up. `l4` must be pinned.
Result<> start_vcpu0(Domain& domain, const Dom0Layout& layout, Mfn l4, uint64_t entry);

}  // namespace hv::pv
