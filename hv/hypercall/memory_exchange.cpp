// XENMEM_exchange: a domain gives frames up and gets others for them, in larger or smaller extents
// (Linux makes memory contiguous, or reachable by a device, this way).
//
// The work is done in chunks of the larger of the two extents: take the old frames, allocate the
// new ones, and only when nothing can fail any more swap them. A chunk that fails is undone.
#include <cstdint>

#include <xen/xen.h>

#include <xen/memory.h>

#include <algorithm>
#include <utility>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/memory_op.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/memory/page.hpp"
#include "hv/policy/policy.hpp"

namespace hv::memory_op {

namespace {

/// Blocks that belong to nobody at the moment, linked through the type word of their first frame.
class Limbo {
  public:
    explicit Limbo(unsigned order) : order_(order) {}
    Limbo(const Limbo&) = delete;
    Limbo& operator=(const Limbo&) = delete;
    ~Limbo() {
        while (!empty()) memory::free_frames(pop(), order_);
    }
    bool empty() const { return head_ == kInvalidMfn; }
    void push(Mfn block) {
        page_of(block).type.store(head_.raw(), std::memory_order_relaxed);
        head_ = block;
    }
    Mfn pop() {
        const Mfn block = head_;
        head_ = Mfn{page_of(block).type.load(std::memory_order_relaxed)};
        page_of(block).type.store(0, std::memory_order_relaxed);
        return block;
    }

  private:
    unsigned order_;
    Mfn head_ = kInvalidMfn;
};

struct Exchange {
    DomainRef domain;
    GuestIn<xen_pfn_t> in;
    GuestIn<xen_pfn_t> out;
    unsigned in_order;
    unsigned out_order;
    memory::AllocOptions options;
    uint64_t chunks;        ///< in all
    uint64_t in_per_chunk;  ///< extents
    uint64_t out_per_chunk;
};

Result<Exchange> decode(const xen_memory_exchange_t& x) {
    if (std::max(x.in.extent_order, x.out.extent_order) > max_order()) return Errno::kEPERM;
    if (x.nr_exchanged > x.in.nr_extents || x.in.domid != x.out.domid) return Errno::kEINVAL;
    if ((~uint64_t{0} >> x.in.extent_order) < x.in.nr_extents ||
        (~uint64_t{0} >> x.out.extent_order) < x.out.nr_extents ||
        (x.in.nr_extents << x.in.extent_order) != (x.out.nr_extents << x.out.extent_order))
        return Errno::kEINVAL;
    const unsigned bits = XENMEMF_get_address_bits(x.out.mem_flags);
    if (bits && bits <= kPageShift) return Errno::kENOMEM;

    const unsigned chunk_order = std::max(x.in.extent_order, x.out.extent_order);
    const uint64_t in_per_chunk = uint64_t{1} << (chunk_order - x.in.extent_order);
    Exchange exchange{
        .domain = TRY(Domain::find_or_self(DomId{x.in.domid})),
        .in = GuestIn<xen_pfn_t>(x.in.extent_start),
        .out = GuestIn<xen_pfn_t>(x.out.extent_start),
        .in_order = x.in.extent_order,
        .out_order = x.out.extent_order,
        .options = {.address_bits = bits ? bits : 64},
        .chunks = x.in.nr_extents / in_per_chunk,
        .in_per_chunk = in_per_chunk,
        .out_per_chunk = uint64_t{1} << (chunk_order - x.out.extent_order),
    };
    TRY(policy::check(policy::Op::kManageMemory, *arch::current().domain, exchange.domain.get()));
    exchange.options.near = exchange.domain->pages.lock()->near_nodes;
    return exchange;
}

Result<> steal_chunk(const Exchange& x, uint64_t chunk, Limbo& old_frames) {
    for (uint64_t j = 0; j < x.in_per_chunk; ++j) {
        const xen_pfn_t first = TRY(x.in.load(chunk * x.in_per_chunk + j));
        for (uint64_t k = 0; k < (uint64_t{1} << x.in_order); ++k) {
            (void)TRY(memory::steal_page(Mfn{first + k}, *x.domain));
            old_frames.push(Mfn{first + k});
        }
    }
    return {};
}

Result<> allocate_chunk(const Exchange& x, Limbo& new_blocks) {
    for (uint64_t j = 0; j < x.out_per_chunk; ++j)
        new_blocks.push(TRY(memory::alloc_frames(x.out_order, x.options)));
    return {};
}

/// The frames go back to where they came from; the M2P still says what it did.
void give_back(const Exchange& x, Limbo& old_frames) {
    while (!old_frames.empty()) {
        const Mfn mfn = old_frames.pop();
        PageInfo& page = page_of(mfn);
        // It may have been a page table. Until it is writable again, CPUs must have flushed.
        page.type.store((uint64_t{static_cast<uint8_t>(PageType::kL1)} << PageInfo::kTypeShift) |
                        (uint64_t{arch::tlb_flush_stamp()} << PageInfo::kAuxShift));
        // Fails only if the domain is dying, or its controller cut its maximum meanwhile.
        if (!memory::assign_page(page, *x.domain)) memory::free_frames(mfn, 0);
    }
}

/// Enters the new blocks and tells the guest. Whatever fails now is the guest's loss.
Result<> hand_out(const Exchange& x, uint64_t chunk, Limbo& new_blocks) {
    Result<> result;
    for (uint64_t j = 0; j < x.out_per_chunk; ++j) {
        const uint64_t index = chunk * x.out_per_chunk + j;
        const Mfn block = new_blocks.pop();
        if (auto assigned = memory::assign_block(block, x.out_order, *x.domain); !assigned) {
            memory::free_frames(block, x.out_order);
            return assigned;
        }
        auto pfn = x.out.load(index);
        if (!pfn) {
            result = pfn.error();
            continue;
        }
        for (uint64_t k = 0; k < (uint64_t{1} << x.out_order); ++k)
            set_pfn_of(*x.domain, block + k, *pfn + k);
        if (auto told = GuestOut<xen_pfn_t>(x.out.raw()).store(block.raw(), index); !told)
            result = told.error();
    }
    return result;
}

Result<> exchange_chunk(const Exchange& x, uint64_t chunk) {
    Limbo old_frames(0);
    Limbo new_blocks(x.out_order);
    auto ready = steal_chunk(x, chunk, old_frames);
    if (ready) ready = allocate_chunk(x, new_blocks);
    if (!ready) {
        give_back(x, old_frames);
        return ready.error();
    }
    while (!old_frames.empty()) {
        const Mfn mfn = old_frames.pop();
        arch::set_m2p(mfn, arch::kInvalidM2p);
        memory::free_frames(mfn, 0);
    }
    return hand_out(x, chunk, new_blocks);
}

}  // namespace

Outcome exchange(uint64_t address, uint64_t) {
    const GuestInOut<xen_memory_exchange_t> argument(address);
    auto loaded = argument.load();
    if (!loaded) return loaded.error();
    xen_memory_exchange_t& told = *loaded;
    auto request = decode(told);
    if (!request) return request.error();

    Result<> result;
    const uint64_t first = told.nr_exchanged / request->in_per_chunk;
    uint64_t chunk = first;
    bool again = false;
    for (; chunk < request->chunks; ++chunk) {
        if (chunk != first && preempt_requested()) {
            again = true;
            break;
        }
        if (result = exchange_chunk(*request, chunk); !result) break;
    }
    told.nr_exchanged = chunk * request->in_per_chunk;
    if (auto stored = argument.store_field(told, &xen_memory_exchange_t::nr_exchanged); !stored)
        return stored;
    if (again) return continue_with({XENMEM_exchange});
    return result;
}

}  // namespace hv::memory_op
