#include "hv/x86/pv/dom0_layout.hpp"

#include <xen/xen.h>

#include "hv/x86/paging/entry.hpp"

namespace hv::pv {
namespace {

constexpr uint64_t kEndAlignment = 4 * kMiB;
constexpr uint64_t kLeastPadding = 512 * kKiB;

constexpr uint64_t up_to_page(uint64_t bytes) {
    return round_up(bytes, kPageSize);
}

/// Whether [start, end] (`end` inclusive) lies on one side of the hypervisor's addresses.
bool is_guest_range(uint64_t start, uint64_t last) {
    return start <= last && paging::is_guest_address(start) && paging::is_guest_address(last) &&
           (start < paging::kHypervisorStart) == (last < paging::kHypervisorStart);
}

/// Bytes from the base on; addresses are added at the end, so nothing wraps in between.
struct Offsets {
    uint64_t initrd = 0, p2m = 0, start_info = 0, tables = 0, stack = 0, end = 0;
};

/// The tables map themselves, so their number and the end depend on each other.
uint64_t place_tables(uint64_t base, Offsets& at) {
    for (uint64_t count = 4;; ++count) {
        at.stack = at.tables + count * kPageSize;
        const uint64_t stack_end = at.stack + kPageSize;
        at.end = round_up(base + stack_end + kLeastPadding, kEndAlignment) - base;
        if (1 + tables_for(base, base + at.end) <= count) return count;
    }
}

}  // namespace

uint64_t tables_for(uint64_t start, uint64_t end) {
    uint64_t count = 0;
    for (unsigned level = 1; level <= 3; ++level) {
        const unsigned shift = kPageShift + level * paging::kLevelBits;
        count += ((end - 1) >> shift) - (start >> shift) + 1;
    }
    return count;
}

Result<Dom0Layout> lay_out_dom0(const Dom0Needs& needs) {
    // So much that nothing below overflows.
    if (needs.pages >= uint64_t{1} << 36 || needs.initrd_bytes >= uint64_t{1} << 40)
        return Errno::kERANGE;
    const uint64_t p2m_bytes = up_to_page(needs.pages * sizeof(uint64_t));

    Offsets at;
    uint64_t next = up_to_page(needs.kernel_end - needs.virtual_base);
    if (!needs.initrd_by_frame) {
        at.initrd = next;
        next += up_to_page(needs.initrd_bytes);
    }
    if (!needs.p2m_base) {
        at.p2m = next;
        next += p2m_bytes;
    }
    at.start_info = next;
    at.tables = at.start_info + up_to_page(sizeof(start_info));
    if (!is_guest_range(needs.virtual_base, needs.virtual_base + at.tables)) return Errno::kERANGE;
    const uint64_t table_pages = place_tables(needs.virtual_base, at);
    if (!is_guest_range(needs.virtual_base, needs.virtual_base + at.end - 1)) return Errno::kERANGE;

    const uint64_t base = needs.virtual_base;
    Dom0Layout layout{
        .base = base,
        .initrd = needs.initrd_by_frame || !needs.initrd_bytes ? 0 : base + at.initrd,
        .p2m = needs.p2m_base ? *needs.p2m_base : base + at.p2m,
        .start_info = base + at.start_info,
        .tables = base + at.tables,
        .stack_end = base + at.stack + kPageSize,
        .end = base + at.end,
        .mapped_pages = at.end >> kPageShift,
        .table_pages = table_pages,
        .initrd_pfn = Pfn{at.initrd >> kPageShift},
        .initrd_pages = pages_of(needs.initrd_bytes),
        .p2m_pfn = Pfn{at.p2m >> kPageShift},
        .p2m_pages = pages_of(p2m_bytes),
        .p2m_table_pages = 0,
        .least_pages = at.end >> kPageShift,
    };
    if (needs.initrd_by_frame) {
        layout.initrd_pfn = Pfn{layout.least_pages};
        layout.least_pages += layout.initrd_pages;
    }
    if (needs.p2m_base) {
        if (!is_guest_range(layout.p2m, layout.p2m + p2m_bytes - 1)) return Errno::kERANGE;
        if (layout.p2m < layout.end && layout.p2m + p2m_bytes > base) return Errno::kERANGE;
        layout.p2m_pfn = Pfn{layout.least_pages};
        layout.p2m_table_pages = tables_for(layout.p2m, layout.p2m + p2m_bytes);
        layout.least_pages += layout.p2m_pages + layout.p2m_table_pages;
    }
    return layout;
}

}  // namespace hv::pv
