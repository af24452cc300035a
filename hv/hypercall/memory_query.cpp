// memory_op's questions: sizes, the M2P's place, and topics that this machine has nothing to say
// on.
#include <cstdint>

#include <xen/xen.h>

#include <xen/memory.h>

#include <algorithm>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/memory_op.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/policy/policy.hpp"

namespace hv::memory_op {

namespace {

/// The domain of a question about its memory: oneself, or one that the caller controls.
Result<DomainRef> subject_of(uint16_t id) {
    DomainRef domain = TRY(Domain::find_or_self(DomId{id}));
    TRY(policy::check(policy::Op::kManageMemory, *arch::current().domain, domain.get()));
    return domain;
}

template <class Fn>
Outcome ask(uint64_t address, Fn fn) {
    auto argument = GuestIn<xen_memory_domain>(address).load();
    if (!argument) return argument.error();
    auto domain = subject_of(argument->domid);
    if (!domain) return domain.error();
    return Outcome{static_cast<int64_t>(fn(**domain))};
}

}  // namespace

Outcome maximum_ram_page(uint64_t, uint64_t) {
    return Outcome{static_cast<int64_t>(memory::max_page().raw())};
}

Outcome current_reservation(uint64_t address, uint64_t) {
    return ask(address, [](Domain& domain) { return domain.pages.lock()->total; });
}

Outcome maximum_reservation(uint64_t address, uint64_t) {
    return ask(address, [](Domain& domain) {
        return std::min<uint64_t>(domain.pages.lock()->max, INT64_MAX);
    });
}

Outcome maximum_gpfn(uint64_t address, uint64_t) {
    return ask(address, [](Domain& domain) {
        // What the guest itself wrote there: it may be any number, and change.
        const uint64_t count = std::atomic_ref(domain.shared->arch.max_pfn).load();
        return std::min<uint64_t>(count ? count - 1 : 0, INT64_MAX);
    });
}

Outcome machphys_mapping(uint64_t address, uint64_t) {
    const xen_machphys_mapping_t mapping = {
        .v_start = MACH2PHYS_VIRT_START,
        .v_end = MACH2PHYS_VIRT_END,
        .max_mfn = MACH2PHYS_NR_ENTRIES - 1,
    };
    return GuestOut<xen_machphys_mapping_t>(address).store(mapping);
}

Outcome machphys_mfn_list(uint64_t address, uint64_t) {
    const GuestInOut<xen_machphys_mfn_list_t> argument(address);
    auto list = argument.load();
    if (!list) return list.error();
    const GuestOut<xen_pfn_t> extents(list->extent_start);
    constexpr unsigned kFramesShift = 30 - kPageShift;  // of one extent: its 2 MiB tell of a GiB
    const uint64_t all = ((memory::max_page() - 1).raw() >> kFramesShift) + 1;
    const uint64_t count = std::min<uint64_t>(all, list->max_extents);
    xen_pfn_t block = 0;
    for (uint64_t gib = 0; gib < count; ++gib) {
        // Where there is no RAM, the block before: each element is a frame that can be mapped.
        if (const Mfn own = arch::m2p_block(gib); own != kInvalidMfn) block = own.raw();
        if (auto told = extents.store(block, gib); !told) return told;
    }
    list->nr_extents = static_cast<unsigned>(count);
    return argument.store(*list);
}

Outcome machphys_compat_mfn_list(uint64_t, uint64_t) {
    return Errno::kEOPNOTSUPP;  // 32-bit guests' table: there are no such guests
}

Outcome pod_target(uint64_t address, uint64_t) {
    auto target = GuestIn<xen_pod_target_t>(address).load();
    if (!target) return target.error();
    auto domain = Domain::find_or_self(DomId{target->domid});
    if (!domain) return domain.error();
    return Errno::kEINVAL;  // populate-on-demand is for hardware virtualised guests
}

Outcome reserved_device_memory_map(uint64_t address, uint64_t) {
    const GuestInOut<xen_reserved_device_memory_map_t> argument(address);
    auto map = argument.load();
    if (!map) return map.error();
    if (map->flags & ~uint32_t{XENMEM_RDM_ALL}) return Errno::kEINVAL;
    map->nr_entries = 0;  // no IOMMU is in use, so no device has memory reserved for it
    return argument.store(*map);
}

}  // namespace hv::memory_op
