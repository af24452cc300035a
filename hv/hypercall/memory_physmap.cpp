// Placing frames into a domain's physical map. A PV domain has none of its own: it is told machine
// frames (acquire_resource) and maps them itself.
#include <cstdint>

#include <xen/xen.h>

#include <xen/memory.h>

#include <algorithm>

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/grant.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/memory_op.hpp"
#include "hv/policy/policy.hpp"

namespace hv::memory_op {

namespace {

constexpr uint64_t kMaxFrames = UINT32_MAX >> 6;  // more would not fit a continuation's command

struct Resource {
    DomainRef domain;
    xen_mem_acquire_resource_t argument;
    uint32_t size;  ///< in frames
    bool status;    ///< grant table: the version 2 status frames
};

Result<Resource> decode(uint64_t address) {
    const auto argument = TRY(GuestIn<xen_mem_acquire_resource_t>(address).load());
    if (argument.pad != 0) return Errno::kEINVAL;
    if ((argument.frame >> 32) || ((argument.frame + argument.nr_frames) >> 32))
        return Errno::kEINVAL;
    const Domain& self = *arch::current().domain;
    // DOMID_SELF is nobody here: find() says so.
    if (DomId{argument.domid} == self.id) return Errno::kEPERM;
    Resource resource{TRY(Domain::find(DomId{argument.domid})), argument, 0, false};
    TRY(policy::check(policy::Op::kMapForeign, self, resource.domain.get()));

    if (argument.type != XENMEM_resource_grant_table) return Errno::kEINVAL;
    if (argument.id > XENMEM_resource_grant_table_id_status) return Errno::kEINVAL;
    resource.status = argument.id == XENMEM_resource_grant_table_id_status;
    resource.size = grant::max_frames(*resource.domain);
    return resource;
}

}  // namespace

// Only for domains whose physical map is ours to keep.
Outcome add_to_physmap(uint64_t address, uint64_t start) {
    if (start > UINT16_MAX) return Errno::kEDOM;
    auto argument = GuestIn<xen_add_to_physmap_t>(address).load();
    if (!argument) return argument.error();
    if (argument->space == XENMAPSPACE_gmfn_foreign) return Errno::kENOSYS;
    auto domain = Domain::find_or_self(DomId{argument->domid});
    return domain ? Errno::kEACCES : domain.error();
}

Outcome add_to_physmap_batch(uint64_t address, uint64_t start) {
    if (start > UINT16_MAX) return Errno::kEDOM;
    auto argument = GuestIn<xen_add_to_physmap_batch_t>(address).load();
    if (!argument) return argument.error();
    if (argument->space == XENMAPSPACE_gmfn_range) return Errno::kEOPNOTSUPP;
    auto domain = Domain::find_or_self(DomId{argument->domid});
    return domain ? Errno::kEACCES : domain.error();
}

Outcome remove_from_physmap(uint64_t address, uint64_t) {
    auto argument = GuestIn<xen_remove_from_physmap_t>(address).load();
    if (!argument) return argument.error();
    auto domain = Domain::find_or_self(DomId{argument->domid});
    return domain ? Errno::kEACCES : domain.error();
}

Outcome acquire_resource(uint64_t address, uint64_t start) {
    constexpr uint64_t kFramesBetweenPolls = 32;
    auto resource = decode(address);
    if (!resource) return resource.error();
    const xen_mem_acquire_resource_t& argument = resource->argument;
    if (GuestAddress(argument.frame_list).is_null()) {
        if (argument.nr_frames || start) return Errno::kEINVAL;
        auto answer = argument;
        answer.nr_frames = resource->size;
        return GuestInOut<xen_mem_acquire_resource_t>(address).store_field(
            answer, &xen_mem_acquire_resource_t::nr_frames);
    }
    if (start >= argument.nr_frames || argument.nr_frames > kMaxFrames) return Errno::kEINVAL;

    const GuestOut<xen_pfn_t> list(argument.frame_list);
    for (uint64_t i = start; i < argument.nr_frames; ++i) {
        if (i != start && i % kFramesBetweenPolls == 0 && preempt_requested())
            return continue_with({resume_at(XENMEM_acquire_resource, i)});
        auto mfn = grant::table_frame(*resource->domain, static_cast<uint32_t>(argument.frame + i),
                                      resource->status);
        if (!mfn) return mfn.error();
        if (auto told = list.store(mfn->raw(), i); !told) return told;
    }
    return Outcome{};
}

}  // namespace hv::memory_op
