// domctl: what the tools see of a domain.
#include <algorithm>
#include <cstring>

#include "hv/hypercall/domctl.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/memory/page.hpp"
#include "hv/sched/sched.hpp"

namespace hv::domctl {

namespace {

bool is_online(const Vcpu& vcpu) {
    return !(vcpu.pause_flags.load() & pause::kDown);
}

/// Running if any vCPU runs, blocked if none could; and what they have run so far.
void describe_vcpus(Domain& domain, xen_domctl_getdomaininfo& info) {
    bool blocked = true;
    bool running = false;
    info.max_vcpu_id = XEN_INVALID_MAX_VCPU_ID;
    for (uint32_t n = 0; n < domain.max_vcpus; ++n) {
        Vcpu* vcpu = domain.vcpu(n);
        if (!vcpu) continue;
        info.max_vcpu_id = n;
        info.cpu_time += sched::runstate_of(*vcpu).time[RUNSTATE_running];
        if (!is_online(*vcpu)) continue;
        ++info.nr_online_vcpus;
        blocked &= (vcpu->pause_flags.load() & pause::kBlocked) != 0;
        running |= vcpu->is_running.load();
    }
    if (info.nr_online_vcpus)
        info.flags |= (blocked ? XEN_DOMINF_blocked : 0) | (running ? XEN_DOMINF_running : 0);
}

/// XEN_DOMCTL_PFINFO_* of a frame as `domain` has it.
uint64_t frame_type(const Domain& domain, xen_pfn_t gfn) {
    auto page = PageRef::take(Mfn{gfn}, domain.id);
    if (!page || (*page)->has(PageInfo::kHypervisor)) return XEN_DOMCTL_PFINFO_XTAB;
    const PageType type = (*page)->page_type();
    if (type < PageType::kL1 || type > PageType::kL4 || (*page)->type_count() == 0)
        return XEN_DOMCTL_PFINFO_NOTAB;
    uint64_t info = uint64_t{static_cast<uint8_t>(type)} << XEN_DOMCTL_PFINFO_LTAB_SHIFT;
    if ((*page)->type.load() & PageInfo::kPinned) info |= XEN_DOMCTL_PFINFO_LPINTAB;
    return info;
}

}  // namespace

void describe(Domain& domain, xen_domctl_getdomaininfo& info) {
    std::memset(&info, 0, sizeof info);
    info.domain = domain.id.raw();
    describe_vcpus(domain, info);
    info.flags |= (domain.dying.load() == Dying::kDead ? XEN_DOMINF_dying : 0) |
                  (domain.is_shut_down ? XEN_DOMINF_shutdown : 0) |
                  (domain.controller_pauses.load() ? XEN_DOMINF_paused : 0) |
                  (domain.config.flags & XEN_DOMCTL_CDF_xs_domain ? XEN_DOMINF_xs_domain : 0) |
                  uint32_t{domain.shutdown_code} << XEN_DOMINF_shutdownshift;
    {
        auto pages = domain.pages.lock();
        info.tot_pages = pages->total;
        info.max_pages = pages->max;
        info.outstanding_pages = pages->claimed;
    }
    info.shared_info_frame = domain.shared_mfn.raw();
    info.ssidref = domain.config.ssidref;
    info.cpupool = domain.config.cpupool_id;
    std::memcpy(info.handle, domain.config.handle, sizeof info.handle);
    info.arch_config.misc_flags = domain.config.misc_flags;
}

Outcome getdomaininfo(Call& call) {
    DomainRef next;
    Domain* domain = call.domain;
    if (!domain) {  // then the first one after it
        if (call.op.domain >= kFirstReservedDomId) return Errno::kEINVAL;
        next = Domain::next_from(DomId{call.op.domain});
        domain = next.get();
    }
    if (!domain) return Errno::kESRCH;
    describe(*domain, call.op.u.getdomaininfo);
    call.op.domain = call.op.u.getdomaininfo.domain;
    return Outcome{};
}

Outcome getvcpuinfo(Call& call) {
    auto& info = call.op.u.getvcpuinfo;
    if (info.vcpu >= call.domain->max_vcpus) return Errno::kEINVAL;
    Vcpu* vcpu = call.domain->vcpu(info.vcpu);
    if (!vcpu) return Errno::kESRCH;
    info.online = is_online(*vcpu);
    info.blocked = (vcpu->pause_flags.load() & pause::kBlocked) != 0;
    info.running = vcpu->is_running.load();
    info.cpu_time = sched::runstate_of(*vcpu).time[RUNSTATE_running];
    info.cpu = vcpu->cpu.load();
    return Outcome{};
}

Outcome getpageframeinfo3(Call& call) {
    constexpr uint64_t kMaxFrames = 1024;
    const auto& info = call.op.u.getpageframeinfo3;
    if (info.num > kMaxFrames) return Errno::kE2BIG;
    const GuestAddress array(info.array);
    for (uint64_t i = 0; i < info.num; ++i) {
        auto gfn = GuestIn<xen_pfn_t>(array.raw()).load(i);
        if (!gfn) return gfn.error();
        const xen_pfn_t type = frame_type(*call.domain, *gfn);
        if (auto told = GuestOut<xen_pfn_t>(array.raw()).store(type, i); !told) return told;
    }
    return Outcome{};
}

}  // namespace hv::domctl
