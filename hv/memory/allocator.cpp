#include "hv/memory/allocator.hpp"

#include <algorithm>

#include "arch/cpu.hpp"
#include "arch/topology.hpp"
#include "hv/console/log.hpp"
#include "hv/memory/free_memory.hpp"

namespace hv::memory {

constinit FreeMemoryLock free_memory;

namespace {

/// The frame number that a limit of `address_bits` excludes.
Mfn limit_of(unsigned address_bits) {
    if (address_bits >= kPageShift + std::bit_width(kMaxFrames) - 1) return Mfn{kMaxFrames};
    if (address_bits <= kPageShift) return Mfn{0};
    return Mfn{uint64_t{1} << (address_bits - kPageShift)};
}

/// The later of two flush stamps; they wrap.
uint32_t later(uint32_t a, uint32_t b) {
    return static_cast<int32_t>(a - b) > 0 ? a : b;
}

/// Frames were freed at various stamps: one flush after the latest serves them all.
void flush_before_reuse(Mfn first, uint64_t count) {
    bool stamped = false;
    uint32_t latest = 0;
    for (uint64_t i = 0; i < count; ++i) {
        const PageInfo& page = page_of(first + i);
        if (!page.has(PageInfo::kStamped)) continue;
        const auto stamp = static_cast<uint32_t>(page.type.load() >> PageInfo::kAuxShift);
        latest = stamped ? later(latest, stamp) : stamp;
        stamped = true;
    }
    if (!stamped) return;
    const CpuMask stale = arch::cpus_not_flushed_since(arch::online_cpus(), latest);
    if (!stale.empty()) arch::flush_tlb(stale);
}

}  // namespace

void add_free_range(MachineRange range) {
    const Mfn first{pages_of(range.start)};
    const Mfn end{range.end >> kPageShift};
    if (first >= end) return;
    auto memory = free_memory.lock();
    for (Mfn at = first; at < end;) {
        const Mfn stop = std::min(end, nodes::end_of_stretch(at));
        memory->count(nodes::of(at), memory->sections.add(at, stop, memory->buddy));
        at = stop;
    }
    memory->max_page = std::max(memory->max_page, end);
}

void describe_ram(MachineRange range) {
    const Mfn first{pages_of(range.start)};
    const Mfn end{range.end >> kPageShift};
    if (first >= end) return;
    auto memory = free_memory.lock();
    memory->described += end - first;
    memory->max_page = std::max(memory->max_page, end);
}

// The lock is held by the caller of arch::back_*(): sections.cpp, within take_block().
Result<Mfn> take_table_frame() {
    return free_memory.unlocked().sections.take_table_frame();
}

namespace {

Result<Mfn> take_of_node(FreeMemory& memory, Node node, unsigned order, Mfn limit) {
    const unsigned max_zone = limit.raw() > 1 ? Buddy::zone_of(limit - 1) : 0;
    for (;;) {
        const unsigned zone = memory.buddy.best_zone(order, max_zone, node);
        if (zone && zone >= memory.sections.best_zone(limit, node))
            return memory.buddy.take(order, zone, node);
        // Higher memory first: low memory is for those who ask for it. When nothing is left to
        // populate (or to back it with), what is populated has to do.
        if (!memory.sections.populate_highest(limit, node, memory.buddy)) {
            if (!zone) return Errno::kENOMEM;
            return memory.buddy.take(order, zone, node);
        }
    }
}

/// Asks the nodes one after the other: the wished one; those that are near; the others.
Result<Mfn> take_of_nodes(FreeMemory& memory, unsigned order, const AllocOptions& options) {
    const Mfn limit = limit_of(options.address_bits);
    const unsigned count = nodes::count();
    if (count == 1 && !options.exact_node) return take_of_node(memory, 0, order, limit);
    if (options.node < count) {
        auto block = take_of_node(memory, options.node, order, limit);
        if (block || options.exact_node) return block;
    } else if (options.exact_node) {
        return Errno::kENOMEM;
    }
    const unsigned start = options.node < count ? options.node : 0;
    for (const bool near : {true, false}) {
        for (unsigned i = 0; i < count; ++i) {
            const auto node = static_cast<Node>((start + i) % count);
            if (options.near.test(node) != near) continue;
            if (auto block = take_of_node(memory, node, order, limit)) return block;
        }
    }
    return Errno::kENOMEM;
}

}  // namespace

Result<Mfn> take_block(unsigned order, const AllocOptions& options, uint64_t claimed) {
    if (order > kMaxOrder) return Errno::kENOMEM;
    const uint64_t count = uint64_t{1} << order;
    auto memory = free_memory.lock();
    if (memory->free < count) return Errno::kENOMEM;
    if (claimed < count && memory->free - count < memory->claims) return Errno::kENOMEM;
    const Mfn first = TRY(take_of_nodes(*memory, order, options));
    memory->uncount(nodes::of(first), count);
    if (memory->low.tell(memory->free - memory->claims)) [[unlikely]]
        memory->on_low();
    return first;
}

void prepare_block(Mfn first, unsigned order, bool zeroed, uint64_t refs) {
    const uint64_t count = uint64_t{1} << order;
    flush_before_reuse(first, count);
    for (uint64_t i = 0; i < count; ++i) {
        PageInfo& page = page_of(first + i);
        const uint64_t flags = page.refs.load(std::memory_order_relaxed);
        const bool dirty = flags & PageInfo::kNeedsScrub;
        if (dirty || (zeroed && !(flags & PageInfo::kZeroed))) arch::clear_page(first + i);
        page.type.store(0, std::memory_order_relaxed);
        page.refs.store(refs, std::memory_order_release);
    }
}

void return_block(Mfn first, unsigned order) {
    const uint64_t count = uint64_t{1} << order;
    const uint64_t aux = uint64_t{arch::tlb_flush_stamp()} << PageInfo::kAuxShift;
    for (uint64_t i = 0; i < count; ++i) {
        PageInfo& page = page_of(first + i);
        page.type.store(aux, std::memory_order_relaxed);
        page.refs.store(PageInfo::kNeedsScrub | PageInfo::kStamped, std::memory_order_release);
    }
    auto memory = free_memory.lock();
    memory->buddy.insert(first, order, true);
    memory->count(nodes::of(first), count);
}

Result<Mfn> alloc_frames(unsigned order, AllocOptions options) {
    if (nodes::count() > 1 && options.node == AllocOptions::kAnyNode) {
        const Node own = arch::node_of_cpu(arch::this_cpu());
        if (options.near.test(own)) options.node = own;
    }
    const Mfn first = TRY(take_block(order, options, 0));
    prepare_block(first, order, options.zeroed, PageInfo::kHypervisor | 1);
    return first;
}

void free_frames(Mfn mfn, unsigned order) {
    for (uint64_t i = 0; i < (uint64_t{1} << order); ++i) {
        const PageInfo* page = page_info(mfn + i);
        invariant(page && page->has(PageInfo::kHypervisor) && page->ref_count() == 1,
                  "a hypervisor frame is freed that is none, or still shown to a domain");
    }
    return_block(mfn, order);
}

uint64_t free_pages() {
    return free_memory.lock()->free;
}
uint64_t free_pages_of(Node node) {
    return free_memory.lock()->free_of[node];
}
uint64_t outstanding_claims() {
    return free_memory.lock()->claims;
}
uint64_t total_pages() {
    return free_memory.lock()->described;
}
Mfn max_page() {
    return free_memory.lock()->max_page;
}

}  // namespace hv::memory
