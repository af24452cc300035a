#include "hv/x86/pv/dom0_page_tables.hpp"

#include "arch/memory.hpp"
#include "hv/console/log.hpp"

namespace hv::pv {
namespace {

using paging::Entry;

constexpr uint64_t kTableFlags = Entry::kPresent | Entry::kWrite | Entry::kAccessed | Entry::kDirty;
constexpr uint64_t kLeafFlags = Entry::kPresent | Entry::kAccessed | Entry::kDirty;

}  // namespace

void Dom0PageTables::build() {
    const Pfn first_table = layout_.pfn_of(layout_.tables);
    Pool pool{first_table, first_table + layout_.table_pages};
    new_table(pool);  // the L4
    map_range(layout_.base, Pfn{0}, layout_.mapped_pages, pool);
    // Padding after the tables' own end may make them one more than needed; the guest counts and
    // later reuses all of them, so none may hold what was in memory before.
    while (pool.next < pool.end) new_table(pool);

    if (layout_.p2m_table_pages == 0) return;
    const Pfn first_p2m_table = layout_.p2m_pfn + layout_.p2m_pages;
    Pool p2m_pool{first_p2m_table, first_p2m_table + layout_.p2m_table_pages};
    map_range(layout_.p2m, layout_.p2m_pfn, layout_.p2m_pages, p2m_pool);
    while (p2m_pool.next < p2m_pool.end) new_table(p2m_pool);
}

void Dom0PageTables::map_range(uint64_t linear, Pfn first, uint64_t count, Pool& pool) {
    Entry* l1 = nullptr;
    for (uint64_t i = 0; i < count; ++i, linear += kPageSize) {
        const size_t index = paging::index_of(linear, 1);
        if (!l1 || index == 0) l1 = l1_for(linear, pool);
        const Pfn pfn = first + i;
        const uint64_t flags = is_table(pfn) ? kLeafFlags : kLeafFlags | Entry::kWrite;
        l1[index] = paging::adjust_guest_leaf(Entry(frames_.mfn(pfn), flags));
    }
}

Entry* Dom0PageTables::table(Mfn mfn) const {
    return arch::mfn_to_virt<Entry>(mfn);
}

Entry* Dom0PageTables::l1_for(uint64_t linear, Pool& pool) {
    Entry* entries = table(l4());
    for (unsigned level = 4; level > 1; --level) {
        Entry& entry = entries[paging::index_of(linear, level)];
        if (!entry.present())
            entry = paging::adjust_guest_table(Entry(new_table(pool), kTableFlags));
        entries = table(entry.mfn());
    }
    return entries;
}

Mfn Dom0PageTables::new_table(Pool& pool) {
    invariant(pool.next < pool.end, "Domain 0's layout has too few page tables");
    const Mfn mfn = frames_.mfn(pool.next);
    ++pool.next;
    arch::clear_page(mfn);
    return mfn;
}

bool Dom0PageTables::is_table(Pfn pfn) const {
    const Pfn first = layout_.pfn_of(layout_.tables);
    return pfn >= first && pfn < first + layout_.table_pages;
}

}  // namespace hv::pv
