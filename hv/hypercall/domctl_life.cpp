// domctl: creation, end, and the pauses in between.
#include "hv/grant/grant.hpp"
#include "hv/hypercall/domctl.hpp"
#include "hv/sched/sched.hpp"

#include <cstring>

namespace hv::domctl {

namespace {

constexpr uint32_t kDefaultGrantFrames = 64;
constexpr uint32_t kDefaultMaptrackFrames = 1024;

/// What a PV domain may be: none of the flags for hardware virtualised guests, no device behind
/// an IOMMU (none is in use).
Result<> check_flags(const xen_domctl_createdomain& c) {
    if (c.flags & ~uint32_t{XEN_DOMCTL_CDF_xs_domain}) return Errno::kEINVAL;
    if (c.iommu_opts || c.vmtrace_size) return Errno::kEINVAL;
    if (c.arch.emulation_flags & ~uint32_t{XEN_X86_EMU_PIT}) return Errno::kEINVAL;
    if (c.arch.misc_flags & ~uint32_t{XEN_X86_MSR_RELAXED}) return Errno::kEINVAL;
    return {};
}

Result<DomainConfig> decode(const xen_domctl_createdomain& c) {
    TRY(check_flags(c));
    DomainConfig config;
    std::memcpy(config.handle, c.handle, sizeof config.handle);
    config.flags = c.flags;
    config.ssidref = c.ssidref;
    config.max_vcpus = c.max_vcpus;
    config.max_event_port = c.max_evtchn_port;
    config.grant.max_frames =
        c.max_grant_frames < 0 ? kDefaultGrantFrames : static_cast<uint32_t>(c.max_grant_frames);
    config.grant.max_maptrack_frames = c.max_maptrack_frames < 0
                                           ? kDefaultMaptrackFrames
                                           : static_cast<uint32_t>(c.max_maptrack_frames);
    config.grant.max_version = static_cast<uint8_t>(XEN_DOMCTL_GRANT_version(c.grant_opts));
    config.cpupool_id = c.cpupool_id;
    config.misc_flags = c.arch.misc_flags;
    return config;
}

Result<DomId> choose_id(uint16_t wish) {
    if (wish > 0 && wish < kFirstReservedDomId) return DomId{wish};
    return Domain::free_id();
}

Result<> create(xen_domctl& op) {
    const DomainConfig config = TRY(decode(op.u.createdomain));
    const DomId id = TRY(choose_id(op.domain));
    const DomainRef domain = TRY(Domain::create(id, config));
    op.domain = domain->id.raw();
    return {};
}

}  // namespace

Outcome createdomain(Call& call) {
    return create(call.op);
}

Outcome destroydomain(Call& call) {
    if (is_self(*call.domain)) return Errno::kEINVAL;
    auto again = call.domain->kill();
    if (!again) return again.error();
    return *again ? continue_with({}) : Outcome{};
}

Outcome pausedomain(Call& call) {
    if (is_self(*call.domain)) return Errno::kEINVAL;
    return sched::domain_pause_by_controller(*call.domain);
}

Outcome unpausedomain(Call& call) {
    call.domain->creation_finished = true;
    return sched::domain_unpause_by_controller(*call.domain);
}

Outcome resumedomain(Call& call) {
    if (is_self(*call.domain)) return Errno::kEINVAL;
    call.domain->resume();
    return Outcome{};
}

Outcome max_vcpus(Call& call) {
    Domain& domain = *call.domain;
    // The number was settled when the domain was created; this makes them.
    if (is_self(domain) || call.op.u.max_vcpus.max != domain.max_vcpus) return Errno::kEINVAL;
    for (uint32_t n = 0; n < domain.max_vcpus; ++n) {
        if (domain.vcpus[n]) continue;
        if (auto added = domain.add_vcpu(VcpuId{n}); !added) return added.error();
    }
    sched::follow_nodes(domain);
    return Outcome{};
}

}  // namespace hv::domctl
