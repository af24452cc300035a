// domctl: which of the machine's devices a domain may touch. Ports are in domctl_x86.cpp.
#include "arch/cpu.hpp"
#include "arch/domain.hpp"
#include "arch/irq.hpp"
#include "hv/hypercall/domctl.hpp"

namespace hv::domctl {

/// Frames of device memory that a PV guest may map, without an IOMMU: xl.cfg's `iomem=`. The
/// caller gives and takes only what it has itself. Mappings that exist stay.
Outcome iomem_permission(Call& call) {
    const auto& op = call.op.u.iomem_permission;
    const uint64_t first = op.first_mfn, last = op.first_mfn + op.nr_mfns - 1;
    if (last < first) return Errno::kEINVAL;
    if (!arch::may_give_device_frames(*arch::current().domain, Mfn{first}, Mfn{last}))
        return Errno::kEPERM;
    return arch::permit_device_frames(*call.domain, Mfn{first}, Mfn{last}, op.allow_access);
}

/// Only checked: a PV guest maps device memory by itself, wherever it likes.
Outcome memory_mapping(Call& call) {
    const auto& op = call.op.u.memory_mapping;
    const uint64_t last = op.first_mfn + op.nr_mfns - 1;
    if (last < op.first_mfn || op.first_gfn + op.nr_mfns - 1 < op.first_gfn) return Errno::kEINVAL;
    if (last >= arch::machine_frame_limit()) return Errno::kEINVAL;
    return Outcome{};
}

/// Physical interrupts are Domain 0's alone until devices are handed on.
Outcome irq_permission(Call& call) {
    const Domain& caller = *arch::current().domain;
    const Pirq pirq{call.op.u.irq_permission.pirq};
    if (!arch::pirq_in_range(caller, pirq)) return Errno::kEINVAL;
    if (!arch::pirq_is_mapped(caller, pirq)) return Errno::kEPERM;
    return Errno::kEOPNOTSUPP;
}

}  // namespace hv::domctl
