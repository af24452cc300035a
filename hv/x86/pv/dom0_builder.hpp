// Builds Domain 0 as a PV guest from the boot loader's modules (MISSION row H4).
#pragma once

#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/boot/module.hpp"

namespace hv::pv {

/// Creates Domain 0 with its memory, kernel, initrd (size 0: none), start info, page tables and
/// vCPUs, as boot::options() says. vCPU 0 is ready to run, the others are down; the domain is
/// still paused (sched::domain_unpause_by_controller starts it). The modules' memory is given to
/// the allocator. On failure the log says in one line what is wrong and what to do.
///
/// Once, at boot, after memory, scheduler, CPUs and the page-type engine are up.
Result<DomainRef> build_dom0(const boot::BootModule& kernel, const boot::BootModule& initrd);

}  // namespace hv::pv
