#include "hv/domain/vcpu.hpp"

#include "base/nospec.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/lifecycle.hpp"
#include "hv/memory/heap.hpp"
#include "hv/memory/page.hpp"
#include "hv/sched/sched.hpp"

namespace hv {

namespace {

/// What a vCPU beyond the shared info's 32 has until it registers its own (VCPUOP_register_…), and
/// what the vCPUs of a dying domain have. Nobody reads it.
constinit vcpu_info nobody{};

}  // namespace

bool Vcpu::runnable() const {
    return pause_flags.load() == 0 && pause_count.load() == 0 && domain->pause_count.load() == 0;
}

Result<Vcpu*> Domain::add_vcpu(VcpuId number) {
    const uint32_t n = number.raw();
    if (n >= max_vcpus) return Errno::kEINVAL;
    if (vcpus[n]) return Errno::kEEXIST;
    auto* vcpu = heap::create<Vcpu>(*this, number);
    if (!vcpu) return Errno::kENOMEM;
    vcpu->info.store(n < XEN_LEGACY_MAX_VCPUS ? &shared->vcpu_info[n] : &nobody);
    if (auto made = arch::init_vcpu(*vcpu); !made) {
        arch::destroy_vcpu(*vcpu);
        heap::destroy(vcpu);
        return made.error();
    }
    if (auto added = sched::add_vcpu(*vcpu); !added) {
        sched::remove_vcpu(*vcpu);
        arch::destroy_vcpu(*vcpu);
        heap::destroy(vcpu);
        return added.error();
    }
    // Others find it from here on, complete.
    std::atomic_ref(vcpus[n]).store(vcpu, std::memory_order_release);
    return vcpu;
}

namespace lifecycle {

void destroy_vcpus(Domain& domain) {
    for (uint32_t n = domain.max_vcpus; n-- > 0;) {
        Vcpu* vcpu = domain.vcpus[n];
        if (!vcpu) continue;
        sched::remove_vcpu(*vcpu);
        arch::destroy_vcpu(*vcpu);
        domain.vcpus[n] = nullptr;
        heap::destroy(vcpu);
    }
}

void leave_vcpu_info(Domain& domain) {
    for (uint32_t n = 0; n < domain.max_vcpus; ++n)
        if (Vcpu* vcpu = domain.vcpus[n]) vcpu->info.store(&nobody);
}

void release_vcpu_info(Domain& domain) {
    for (uint32_t n = 0; n < domain.max_vcpus; ++n) {
        Vcpu* vcpu = domain.vcpus[n];
        if (!vcpu || vcpu->info_mfn == kInvalidMfn) continue;
        PageInfo* page = page_info(vcpu->info_mfn);
        vcpu->info_mfn = kInvalidMfn;
        page->put_simple_type();
        page->put();
    }
}

}  // namespace lifecycle
}  // namespace hv
