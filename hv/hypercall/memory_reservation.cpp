// How many frames a domain has: increase, decrease, populate, claim. The answer of the first three
// is the number of extents done, which is also how they report failure.
#include <cstdint>

#include <xen/xen.h>

#include <xen/memory.h>

#include <bit>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/console/trace.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/memory_op.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/memory/page.hpp"
#include "hv/policy/policy.hpp"

namespace hv::memory_op {

namespace {

constexpr uint64_t kMaxExtents = UINT32_MAX >> 6;  // more would not fit a continuation's command
constexpr uint64_t kFramesBetweenPolls = 64;

struct Request {
    DomainRef domain;
    GuestIn<xen_pfn_t> extents;   ///< where they are to go, or what to give up
    GuestOut<xen_pfn_t> answers;  ///< the same list: what they became
    uint64_t count;
    unsigned order;
    memory::AllocOptions options;
};

/// A node of the domain's own: the machine's node that it lies on. kEINVAL: it has no such.
Result<uint8_t> node_behind(Domain& domain, unsigned virtual_node) {
    auto own = domain.virtual_nodes.lock();
    if (!*own) return memory::AllocOptions::kAnyNode;
    if (virtual_node >= (*own)->count) return Errno::kEINVAL;
    return (*own)->nodes[virtual_node];
}

/// XENMEMF_*: the width of addresses, and a node: the domain's own, or the machine's, which only
/// the control domain can ask for.
Result<memory::AllocOptions> decode_flags(uint32_t flags, Domain& domain) {
    memory::AllocOptions options;
    const unsigned bits = XENMEMF_get_address_bits(flags);
    if (bits && bits <= kPageShift) return Errno::kEINVAL;
    if (bits) options.address_bits = bits;
    const unsigned node = XENMEMF_get_node(flags);
    const bool exact = flags & XENMEMF_exact_node_request;
    if (flags & XENMEMF_vnode) {
        options.node = TRY(node_behind(domain, node));
        options.exact_node = exact && options.node != memory::AllocOptions::kAnyNode;
        return options;
    }
    if (node == memory::AllocOptions::kAnyNode) return options;
    if (!arch::current().domain->privileged) {
        if (exact) return Errno::kEINVAL;
        return options;
    }
    constexpr unsigned kNodesOfAbi = 64;
    if (node >= kNodesOfAbi) return Errno::kEINVAL;
    options.node = static_cast<uint8_t>(node);
    options.exact_node = exact;
    return options;
}

Result<Request> decode(uint64_t address, uint64_t start) {
    const auto r = TRY(GuestIn<xen_memory_reservation_t>(address).load());
    if (r.nr_extents > kMaxExtents || start >= r.nr_extents) return Errno::kEINVAL;
    if (r.extent_order > max_order()) return Errno::kEPERM;
    // Both before the braced list: a member of it that exists already is not destroyed when TRY
    // leaves it.
    DomainRef domain = TRY(Domain::find_or_self(DomId{r.domid}));
    const memory::AllocOptions options = TRY(decode_flags(r.mem_flags, *domain));
    Request request{
        .domain = static_cast<DomainRef&&>(domain),
        .extents = GuestIn<xen_pfn_t>(r.extent_start),
        .answers = GuestOut<xen_pfn_t>(r.extent_start),
        .count = r.nr_extents,
        .order = r.extent_order,
        .options = options,
    };
    TRY(policy::check(policy::Op::kManageMemory, *arch::current().domain, request.domain.get()));
    return request;
}

/// Gives a block back that has just been allocated to `domain`.
void undo(Domain& domain, Mfn first, unsigned order) {
    for (uint64_t i = 0; i < (uint64_t{1} << order); ++i) {
        // Another vCPU may have been faster: only what is still the domain's.
        auto page = PageRef::take(first + i, domain.id);
        if (page && (*page)->clear_allocated()) (*page)->put();
    }
}

Result<> increase(const Request& request, uint64_t index) {
    const Mfn first =
        TRY(memory::alloc_domain_frames(*request.domain, request.order, request.options));
    if (request.answers.is_null()) return {};
    auto told = request.answers.store(first.raw(), index);
    if (!told) undo(*request.domain, first, request.order);
    return told;
}

Result<> populate(const Request& request, uint64_t index) {
    const xen_pfn_t pfn = TRY(request.extents.load(index));
    const Mfn first =
        TRY(memory::alloc_domain_frames(*request.domain, request.order, request.options));
    for (uint64_t i = 0; i < (uint64_t{1} << request.order); ++i)
        set_pfn_of(*request.domain, first + i, pfn + i);
    auto told = request.answers.store(first.raw(), index);
    if (!told) undo(*request.domain, first, request.order);
    return told;
}

Result<> decrease(const Request& request, uint64_t index) {
    const xen_pfn_t first = TRY(request.extents.load(index));
    trace::event(TRC_MEM_DECREASE_RESERVATION, trace::low(first), trace::high(first),
                 request.domain->id.raw(), request.order);
    for (uint64_t i = 0; i < (uint64_t{1} << request.order); ++i) {
        PageRef page = TRY(PageRef::take(Mfn{first + i}, request.domain->id));
        if (!page->clear_allocated()) return Errno::kEINVAL;
        arch::set_m2p(page.mfn(), arch::kInvalidM2p);
        page->put();  // the reservation's; what is still mapped stays until it is unmapped
    }
    return {};
}

/// Does one extent after the other until one fails or something else is waiting.
template <class Step>
Outcome each_extent(uint32_t op, uint64_t address, uint64_t start, Step step) {
    auto request = decode(address, start);
    if (!request) return Outcome{static_cast<int64_t>(start)};
    uint64_t done = start;
    uint64_t frames = 0;
    for (; done < request->count; ++done) {
        if (frames >= kFramesBetweenPolls) {
            if (preempt_requested()) return continue_with({resume_at(op, done)});
            frames = 0;
        }
        if (!step(*request, done)) break;
        frames += uint64_t{1} << request->order;
    }
    return Outcome{static_cast<int64_t>(done)};
}

}  // namespace

unsigned max_order() {
    // As Xen's defaults: 2 MiB for guests, whatever there is for the control domain.
    constexpr unsigned kGuestOrder = 9;
    return arch::current().domain->privileged ? memory::kMaxOrder : kGuestOrder;
}

Outcome increase_reservation(uint64_t address, uint64_t start) {
    return each_extent(XENMEM_increase_reservation, address, start, increase);
}

Outcome decrease_reservation(uint64_t address, uint64_t start) {
    return each_extent(XENMEM_decrease_reservation, address, start, decrease);
}

Outcome populate_physmap(uint64_t address, uint64_t start) {
    return each_extent(XENMEM_populate_physmap, address, start, populate);
}

Outcome claim_pages(uint64_t address, uint64_t) {
    auto r = GuestIn<xen_memory_reservation_t>(address).load();
    if (!r) return r.error();
    if (!GuestAddress(r->extent_start).is_null() || r->extent_order || r->mem_flags)
        return Errno::kEINVAL;
    auto domain = Domain::find(DomId{r->domid});
    if (!domain) return Errno::kEINVAL;
    if (auto may =
            policy::check(policy::Op::kControlDomain, *arch::current().domain, domain->get());
        !may)
        return may;
    return memory::set_claim(**domain, r->nr_extents);
}

}  // namespace hv::memory_op
