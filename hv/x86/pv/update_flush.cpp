#include "hv/x86/pv/update_flush.hpp"

#include "arch/cpu.hpp"
#include "hv/x86/paging/entry.hpp"
#include "hv/x86/paging/flush.hpp"
#include "hv/x86/pv/mmu.hpp"

namespace hv::pv {

Result<CpuMask> cpus_of_vcpus(Domain& domain, GuestIn<uint64_t> bitmap) {
    CpuMask cpus;
    for (uint32_t first = 0; first < domain.max_vcpus; first += 64) {
        const uint64_t word = TRY(bitmap.load(first / 64));
        for (uint32_t bit = 0; bit < 64 && first + bit < domain.max_vcpus; ++bit) {
            if (!(word >> bit & 1)) continue;
            const Vcpu* v = domain.vcpu(first + bit);
            // A vCPU that is not loaded anywhere is flushed when it is (context switch).
            if (v && v->is_running.load()) cpus.set(v->cpu.load());
        }
    }
    return cpus;
}

Result<> flush_after_update(Vcpu& vcpu, uint64_t linear, uint64_t flags) {
    const uint64_t what = flags & UVMF_FLUSHTYPE_MASK;
    if (what != UVMF_TLB_FLUSH && what != UVMF_INVLPG) return {};
    const uint64_t where = flags & ~uint64_t{UVMF_FLUSHTYPE_MASK};
    CpuMask cpus;
    if (where == UVMF_LOCAL) {
        cpus.set(arch::this_cpu());
    } else if (where == UVMF_ALL) {
        cpus = vcpu.domain->dirty_cpus.snapshot();
    } else {
        cpus = TRY(cpus_of_vcpus(*vcpu.domain, GuestIn<uint64_t>(where)));
    }
    if (what == UVMF_TLB_FLUSH)
        arch::flush_tlb(cpus);
    else if (paging::is_guest_address(linear))
        arch::flush_tlb_page(cpus, linear);
    return {};
}

}  // namespace hv::pv
