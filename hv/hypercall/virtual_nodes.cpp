// Virtual NUMA nodes: the tools say what a guest has, and the guest asks (<xen/memory.h>).
#include "hv/domain/virtual_nodes.hpp"

#include <utility>

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/domctl.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/memory_op.hpp"
#include "hv/policy/policy.hpp"

namespace hv {
namespace {

// As in Xen, no array is larger than a page: what asks for more is refused (XSA-77).
constexpr uint32_t kMaxDistances = kPageSize / sizeof(uint32_t);
constexpr uint32_t kMaxRanges = kPageSize / sizeof(xen_vmemrange_t);
constexpr uint32_t kNodesOfAbi = 64;

Result<heap::Owned<VirtualNodes>> allocate(uint32_t count, uint32_t ranges, uint32_t vcpus) {
    if (count == 0 || count > kMaxDistances / count || ranges > kMaxRanges) return Errno::kEINVAL;
    heap::Owned<VirtualNodes> made(heap::create<VirtualNodes>());
    if (!made) return Errno::kENOMEM;
    made->count = count;
    made->distances = TRY(heap::OwnedArray<uint32_t>::create(size_t{count} * count));
    made->nodes = TRY(heap::OwnedArray<uint8_t>::create(count));
    made->of_vcpus = TRY(heap::OwnedArray<uint32_t>::create(vcpus));
    made->ranges = TRY(heap::OwnedArray<xen_vmemrange_t>::create(ranges));
    return made;
}

template <class T, class Handle>
Result<> load_array(const heap::OwnedArray<T>& into, const Handle& from) {
    return GuestIn<T>(from).load_many({into.data(), into.size()});
}

template <class T, class Handle>
Result<> store_array(const Handle& into, const heap::OwnedArray<T>& from) {
    return GuestOut<T>(into).store_many({from.data(), from.size()});
}

Result<heap::Owned<VirtualNodes>> load(const xen_domctl_vnuma& told, const Domain& domain) {
    if (told.nr_vcpus != domain.max_vcpus || told.pad != 0) return Errno::kEINVAL;
    auto made = TRY(allocate(told.nr_vnodes, told.nr_vmemranges, domain.max_vcpus));
    TRY(load_array(made->distances, told.vdistance));
    TRY(load_array(made->ranges, told.vmemrange));
    TRY(load_array(made->of_vcpus, told.vcpu_to_vnode));
    for (size_t n = 0; n < made->of_vcpus.size(); ++n)
        if (made->of_vcpus[n] >= made->count) return Errno::kE2BIG;
    for (uint32_t n = 0; n < made->count; ++n) {
        const uint32_t node = TRY(GuestIn<uint32_t>(told.vnode_to_pnode).load(n));
        if (node >= kNodesOfAbi) return Errno::kE2BIG;
        made->nodes[n] = static_cast<uint8_t>(node);
    }
    for (size_t n = 0; n < made->ranges.size(); ++n)
        if (made->ranges[n].flags != 0) return Errno::kEINVAL;
    return made;
}

/// Tells all of it. The lock that keeps it in place is held: what is copied is a page at most.
Result<> tell(const VirtualNodes& own, const xen_vnuma_topology_info& into) {
    TRY(store_array(into.vmemrange.h, own.ranges));
    TRY(store_array(into.vdistance.h, own.distances));
    return store_array(into.vcpu_to_vnode.h, own.of_vcpus);
}

}  // namespace

Outcome domctl::setvnumainfo(Call& call) {
    auto made = load(call.op.u.vnuma, *call.domain);
    if (!made) return made.error();
    heap::Owned<VirtualNodes> replaced = std::move(*made);
    {
        auto own = call.domain->virtual_nodes.lock();
        std::swap(*own, replaced);  // what was there is freed without the lock
    }
    return Outcome{};
}

Outcome memory_op::get_vnumainfo(uint64_t address, uint64_t start) {
    if (start) return Errno::kEINVAL;
    const GuestInOut<xen_vnuma_topology_info> argument(address);
    auto told = argument.load();
    if (!told) return told.error();
    if (told->pad != 0) return Errno::kEINVAL;
    auto domain = Domain::find_or_self(DomId{told->domid});
    if (!domain) return domain.error();
    TRY(policy::check(policy::Op::kManageMemory, *arch::current().domain, domain->get()));

    Result<> done;
    {
        auto own = (*domain)->virtual_nodes.lock();
        if (!*own) return Errno::kEOPNOTSUPP;
        const VirtualNodes& nodes = **own;
        const auto ranges = static_cast<uint32_t>(nodes.ranges.size());
        const auto vcpus = static_cast<uint32_t>(nodes.of_vcpus.size());
        const bool fits = told->nr_vnodes >= nodes.count && told->nr_vcpus >= vcpus &&
                          told->nr_vmemranges >= ranges;
        done = fits ? tell(nodes, *told) : Result<>(Errno::kENOBUFS);
        told->nr_vnodes = nodes.count;
        told->nr_vcpus = vcpus;
        told->nr_vmemranges = ranges;
    }
    // The sizes are told also to whoever had too little room.
    if (done || done.error() == Errno::kENOBUFS) TRY(argument.store(*told));
    return done;
}

}  // namespace hv
