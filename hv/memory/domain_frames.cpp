// Whose a frame is: the frames of domains, and the hypervisor's that domains are shown.
//
// A domain holds one reference on itself for as long as it has frames of its own, so
// whoever drops the last reference of a frame still finds the owner. Frames that it is only shown
// do not keep it: they lose their owner when it ends.
#include <algorithm>

#include "arch/cpu.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/table.hpp"
#include "hv/hypercall/outcome.hpp"
#include "hv/memory/free_memory.hpp"

namespace hv::memory {

namespace {

constexpr uint64_t owner_bits(DomId id) {
    return PageInfo::kOwned | (uint64_t{id.raw()} << PageInfo::kOwnerShift);
}
constexpr uint64_t owner_bits(const Domain& domain) {
    return owner_bits(domain.id);
}

/// Whether `count` more frames may become the domain's.
Result<> may_grow(const Domain& domain, const DomainPages& pages, uint64_t count) {
    if (domain.dying.load() != Dying::kAlive) return Errno::kEINVAL;
    if (pages.total + count > pages.max) return Errno::kENOMEM;
    return {};
}

/// The nodes that are near to the domain, in turn, unless the caller wishes another one.
void choose_nodes(DomainPages& pages, AllocOptions& options) {
    options.near = pages.near_nodes;
    if (options.node != AllocOptions::kAnyNode) return;
    size_t node = pages.near_nodes.next(pages.last_node + 1u);
    if (node >= nodes::count()) node = pages.near_nodes.first();
    if (node >= nodes::count()) return;
    pages.last_node = static_cast<Node>(node);
    options.node = pages.last_node;
}

/// A claim is consumed by what the domain gets, and restored by nothing.
void consume_claim(DomainPages& pages, uint64_t count) {
    const uint64_t used = std::min(pages.claimed, count);
    if (!used) return;
    pages.claimed -= used;
    free_memory.lock()->claims -= used;
}

/// Enters frames that belong to nobody; `refs` is what their words become.
Result<> enter(Domain& domain, Mfn first, uint64_t count) {
    auto pages = domain.pages.lock();
    TRY(may_grow(domain, *pages, count));
    if (pages->total == 0) domain.get();
    pages->total += count;
    consume_claim(*pages, count);
    // Under the lock: once a dying domain has been seen here, relinquish_frames() sees them all.
    for (uint64_t i = 0; i < count; ++i)
        page_of(first + i).refs.store(owner_bits(domain) | PageInfo::kAllocated | 1,
                                      std::memory_order_release);
    return {};
}

/// Takes a frame off the domain's account; the last one drops its reference.
void leave(Domain& domain) {
    const bool last = --domain.pages.lock()->total == 0;
    if (last) domain.put();
}

/// The frame's `refs` if it is ours and shown to `domain`, and nobody else refers to it.
bool shown_and_unused(uint64_t refs, const Domain& domain) {
    return (refs & PageInfo::kRefMask) == 1 && (refs & PageInfo::kHypervisor) &&
           (refs & (PageInfo::kOwned | PageInfo::kOwnerMask)) == owner_bits(domain);
}

}  // namespace

Result<Mfn> alloc_domain_frames(Domain& domain, unsigned order, AllocOptions options) {
    if (order > kMaxOrder) return Errno::kENOMEM;
    const uint64_t count = uint64_t{1} << order;
    uint64_t claimed;
    {
        auto pages = domain.pages.lock();
        TRY(may_grow(domain, *pages, count));
        claimed = pages->claimed;
        if (nodes::count() > 1) choose_nodes(*pages, options);
    }
    const Mfn first = TRY(take_block(order, options, claimed));
    prepare_block(first, order, options.zeroed, PageInfo::kHypervisor | 1);
    auto entered = enter(domain, first, count);
    if (!entered) {
        free_frames(first, order);
        return entered.error();
    }
    return first;
}

void free_domain_frame(PageInfo& page) {
    const Mfn mfn = mfn_of(page);
    invariant(page.type_count() == 0, "a frame without references still has a type reference");
    arch::set_m2p(mfn, arch::kInvalidM2p);
    const uint64_t refs = page.refs.load(std::memory_order_relaxed);
    return_block(mfn, 0);
    if (!(refs & PageInfo::kOwned)) return;  // was shown to a domain that has ended since
    const DomId id{static_cast<uint16_t>((refs & PageInfo::kOwnerMask) >> PageInfo::kOwnerShift)};
    Domain* owner = domain_table::peek(id);
    invariant(owner != nullptr, "a frame outlives its owner");
    leave(*owner);
}

// We write to the frame past the domain's page tables, so as long as it is shown it must not become
// one, nor a descriptor page: a type reference of our own keeps it writable, or of no use at all.
void share_frame(Mfn mfn, Domain& domain, Access access) {
    PageInfo& page = page_of(mfn);
    domain.pages.lock()->shared_frames += 1;
    arch::set_m2p(mfn, arch::kInvalidM2p);
    const auto type = access == Access::kReadWrite ? PageType::kWritable : PageType::kNone;
    page.type.store((uint64_t{static_cast<uint8_t>(type)} << PageInfo::kTypeShift) |
                    PageInfo::kValidated | 1);
    page.refs.store(owner_bits(domain) | PageInfo::kHypervisor | 1 |
                        (access == Access::kReadOnly ? PageInfo::kReadOnly : 0),
                    std::memory_order_release);
}

void show_to_control_domain(Mfn first, unsigned order, Access access) {
    const uint64_t how = access == Access::kReadOnly ? PageInfo::kReadOnly : 0;
    for (uint64_t i = 0; i < (uint64_t{1} << order); ++i)
        page_of(first + i).refs.store(
            owner_bits(DomId{DOMID_XEN}) | PageInfo::kHypervisor | how | 1,
            std::memory_order_release);
}

Result<> unshare_frame(Mfn mfn, Domain& domain) {
    PageInfo& page = page_of(mfn);
    uint64_t now = page.refs.load(std::memory_order_acquire);
    do {
        if (!shown_and_unused(now, domain)) return Errno::kEBUSY;
    } while (!page.refs.compare_exchange_weak(now, PageInfo::kHypervisor | 1));
    page.put_simple_type();
    domain.pages.lock()->shared_frames -= 1;
    return {};
}

void retire_shared_frame(Mfn mfn, Domain& domain) {
    // Without an owner nobody can map it anew, not even a later domain with the same id.
    page_of(mfn).refs.fetch_and(~(PageInfo::kOwned | PageInfo::kOwnerMask));
    domain.pages.lock()->shared_frames -= 1;
    page_of(mfn).put_simple_type();
    page_of(mfn).put();
}

Result<PageInfo*> steal_page(Mfn mfn, Domain& domain) {
    PageInfo* page = page_info(mfn);
    if (!page || !page->owned_by(domain.id)) return Errno::kEINVAL;
    // Exactly the reservation's own reference: nobody maps it. The type count then is 0 as well,
    // as each type reference comes with a general one.
    uint64_t alone = owner_bits(domain) | PageInfo::kAllocated | 1;
    if (!page->refs.compare_exchange_strong(alone, PageInfo::kHypervisor | 1))
        return alone & PageInfo::kAllocated ? Errno::kEBUSY : Errno::kEINVAL;
    leave(domain);
    return page;
}

Result<> assign_page(PageInfo& page, Domain& domain) {
    return enter(domain, mfn_of(page), 1);
}

Result<> assign_block(Mfn first, unsigned order, Domain& domain) {
    return enter(domain, first, uint64_t{1} << order);
}

Result<bool> relinquish_frames(Domain& domain, Mfn& cursor) {
    constexpr uint64_t kFramesBetweenPolls = 256;
    const Mfn end = max_page();
    while (cursor < end) {
        if (domain.pages.lock()->total == 0) break;
        if (!page_info(cursor)) {  // a section that nobody ever had
            cursor = Mfn{(cursor.raw() | (kSectionFrames - 1)) + 1};
            continue;
        }
        const Mfn stop = std::min(end, cursor + kFramesBetweenPolls);
        for (; cursor < stop; ++cursor) {
            // With a reference: the controller may be giving the same frame up elsewhere.
            auto page = PageRef::take(cursor, domain.id);
            if (page && (*page)->clear_allocated()) (*page)->put();
        }
        if (preempt_requested()) return true;
    }
    return false;
}

Result<> set_claim(Domain& domain, uint64_t claim) {
    auto pages = domain.pages.lock();
    if (claim == 0) {
        consume_claim(*pages, pages->claimed);
        return {};
    }
    // XENMEM_claim_pages: one claim at a time, above what the domain has, within its maximum.
    if (domain.dying.load() != Dying::kAlive) return Errno::kEINVAL;
    if (pages->claimed || claim <= pages->total || claim > pages->max) return Errno::kEINVAL;
    const uint64_t more = claim - pages->total;
    auto memory = free_memory.lock();
    if (more > memory->free - memory->claims) return Errno::kENOMEM;
    memory->claims += more;
    pages->claimed = more;
    return {};
}

}  // namespace hv::memory
