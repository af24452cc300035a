#include "hv/memory/buddy.hpp"

#include "hv/console/log.hpp"

namespace hv::memory {

namespace {

constexpr uint64_t kHeadBits = PageInfo::kFree | PageInfo::kBlockDirty;
constexpr uint64_t kStampBits = ~uint64_t{0} << PageInfo::kAuxShift;

bool heads_block_of(Mfn mfn, unsigned order) {
    PageInfo* page = page_info(mfn);
    return page && page->has(PageInfo::kFree) &&
           (page->type.load(std::memory_order_relaxed) & ~kStampBits) == order;
}

}  // namespace

void Buddy::link(Mfn block, unsigned order, bool dirty) {
    PageInfo& page = page_of(block);
    page.type.store((page.type.load(std::memory_order_relaxed) & kStampBits) | order);
    page.refs.store(page.refs.load(std::memory_order_relaxed) | PageInfo::kFree |
                    (dirty ? PageInfo::kBlockDirty : 0));

    const unsigned zone = zone_of(block);
    OfNode& node = nodes_[nodes::of(block)];
    ListHead& list = node.lists[zone][order];
    Links& own = links(block);
    if (dirty) {
        own = {kNoBlock, list.back};
        (list.back == kNoBlock ? list.front : links(list.back).next) = block;
        list.back = block;
    } else {
        own = {list.front, kNoBlock};
        (list.front == kNoBlock ? list.back : links(list.front).prev) = block;
        list.front = block;
    }
    node.orders[zone] |= uint32_t{1} << order;
    node.zones |= uint32_t{1} << zone;
}

bool Buddy::unlink(Mfn block, unsigned order) {
    const unsigned zone = zone_of(block);
    OfNode& node = nodes_[nodes::of(block)];
    ListHead& list = node.lists[zone][order];
    const Links own = links(block);
    (own.next == kNoBlock ? list.back : links(own.next).prev) = own.prev;
    (own.prev == kNoBlock ? list.front : links(own.prev).next) = own.next;
    if (list.front == kNoBlock) node.orders[zone] &= ~(uint32_t{1} << order);
    if (!node.orders[zone]) node.zones &= ~(uint32_t{1} << zone);

    PageInfo& page = page_of(block);
    const uint64_t refs = page.refs.load(std::memory_order_relaxed);
    page.refs.store(refs & ~kHeadBits);
    page.type.store(page.type.load(std::memory_order_relaxed) & kStampBits);
    if (refs & PageInfo::kZeroed) links(block) = {Mfn{0}, Mfn{0}};  // all zeros again
    return refs & PageInfo::kBlockDirty;
}

void Buddy::insert(Mfn first, unsigned order, bool dirty) {
    invariant(first.raw() != 0, "frame 0 is never free");
    while (order < kMaxOrder) {
        const Mfn buddy{first.raw() ^ (uint64_t{1} << order)};
        if (!heads_block_of(buddy, order) || nodes::of(buddy) != nodes::of(first)) break;
        dirty |= unlink(buddy, order);
        if (buddy < first) first = buddy;
        ++order;
    }
    link(first, order, dirty);
}

void Buddy::insert_range(Mfn first, uint64_t count, bool dirty) {
    while (count) {
        auto order =
            static_cast<unsigned>(std::countr_zero(first.raw() | (uint64_t{1} << kMaxOrder)));
        while ((uint64_t{1} << order) > count) --order;
        insert(first, order, dirty);
        first += uint64_t{1} << order;
        count -= uint64_t{1} << order;
    }
}

unsigned Buddy::best_zone(unsigned order, unsigned max_zone, Node node) const {
    const uint32_t allowed = (uint32_t{2} << max_zone) - 1;
    for (uint32_t zones = nodes_[node].zones & allowed; zones;) {
        const auto zone = static_cast<unsigned>(std::bit_width(zones)) - 1;
        if (nodes_[node].orders[zone] >> order) return zone;
        zones &= ~(uint32_t{1} << zone);
    }
    return 0;
}

Mfn Buddy::take(unsigned order, unsigned zone, Node node) {
    const OfNode& own = nodes_[node];
    auto from = order + static_cast<unsigned>(std::countr_zero(own.orders[zone] >> order));
    const Mfn block = own.lists[zone][from].front;
    const bool dirty = unlink(block, from);
    while (from > order) {  // the upper halves stay free
        --from;
        link(block + (uint64_t{1} << from), from, dirty);
    }
    return block;
}

bool Buddy::find_dirty(DirtyBlock& block) const {
    for (unsigned node = 0; node < nodes::count(); ++node)
        if (find_dirty(nodes_[node], block)) return true;
    return false;
}

bool Buddy::find_dirty(const OfNode& node, DirtyBlock& block) {
    for (uint32_t zones = node.zones; zones; zones &= zones - 1) {
        const auto zone = static_cast<unsigned>(std::countr_zero(zones));
        for (uint32_t orders = node.orders[zone]; orders; orders &= orders - 1) {
            const auto order = static_cast<unsigned>(std::countr_zero(orders));
            const Mfn last = node.lists[zone][order].back;
            if (!page_of(last).has(PageInfo::kBlockDirty)) continue;
            block = {last, order};
            return true;
        }
    }
    return false;
}

}  // namespace hv::memory
