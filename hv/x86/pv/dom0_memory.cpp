#include "hv/x86/pv/dom0_memory.hpp"

#include <algorithm>
#include <bit>

#include "arch/memory.hpp"
#include "hv/memory/allocator.hpp"

namespace hv::pv {
namespace {

// Enough for 4 TiB in blocks of 1 GiB, or for a machine whose memory is badly broken up.
constexpr size_t kMaxRuns = 4096;

constexpr uint64_t kLargestDefaultReserve = 128 * kMiB >> kPageShift;

/// A size of the boot line in pages; negative ones are taken off what is available.
uint64_t pages_of_option(const boot::MemorySize& size, uint64_t available) {
    const uint64_t pages = (size.bytes >> kPageShift) + available / 100 * size.percent;
    if (!size.negative) return pages;
    return available > pages ? available - pages : 0;
}

}  // namespace

Dom0Size dom0_size(const boot::Options& options, uint64_t available) {
    uint64_t pages = options.dom0_mem.given ? pages_of_option(options.dom0_mem, available) : 0;
    if (pages == 0) pages = available - std::min(available / 16, kLargestDefaultReserve);

    // Without max: the domain may grow as far as its page count can be told.
    uint64_t max_pages = UINT32_MAX;
    if (options.dom0_mem_max.given)
        max_pages = std::min(max_pages, pages_of_option(options.dom0_mem_max, available));
    if (options.dom0_mem_min.given)
        pages = std::max(pages, pages_of_option(options.dom0_mem_min, available));
    pages = std::min({pages, max_pages, available});
    return {pages, max_pages};
}

uint64_t hypervisor_reserve(uint64_t free) {
    return free / 128 + (4 * kMiB >> kPageShift);
}

Result<Dom0Frames> Dom0Frames::create(Domain& domain) {
    return Dom0Frames(domain, TRY(heap::OwnedArray<Run>::create(kMaxRuns)));
}

Result<> Dom0Frames::grow_to(uint64_t pages) {
    unsigned order = memory::kMaxOrder;
    while (pages_ < pages) {
        const uint64_t missing = pages - pages_;
        order = std::min(order, static_cast<unsigned>(std::bit_width(missing)) - 1);
        // Not zeroed: it is all Domain 0's, which owns the machine, and no other guest had it.
        auto block = memory::alloc_domain_frames(*domain_, order, {.zeroed = false});
        if (block) {
            TRY(append(*block, uint64_t{1} << order));
        } else if (order == 0 || block.error() != Errno::kENOMEM) {
            return block.error();
        } else {
            --order;  // no such block; smaller ones will do
        }
    }
    return {};
}

Result<> Dom0Frames::append(Mfn first, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) arch::set_m2p(first + i, pages_ + i);
    Run* last = count_ ? &runs_[count_ - 1] : nullptr;
    if (last && last->mfn + last->count == first) {
        last->count += count;
    } else {
        if (count_ == kMaxRuns) return Errno::kENOSPC;
        runs_[count_++] = {Pfn{pages_}, first, count};
    }
    pages_ += count;
    return {};
}

const Dom0Frames::Run& Dom0Frames::run_of(Pfn pfn) const {
    const auto all = runs();
    auto above = std::upper_bound(all.begin(), all.end(), pfn,
                                  [](Pfn wanted, const Run& run) { return wanted < run.pfn; });
    return *(above - 1);
}

Mfn Dom0Frames::mfn(Pfn pfn) const {
    const Run& run = run_of(pfn);
    return run.mfn + (pfn - run.pfn);
}

template <class Fn>
void Dom0Frames::for_each_piece(uint64_t address, uint64_t bytes, Fn fn) {
    while (bytes) {
        const Run& run = run_of(Pfn{address >> kPageShift});
        const uint64_t offset = address - (run.pfn.raw() << kPageShift);
        const uint64_t piece = std::min(bytes, (run.count << kPageShift) - offset);
        fn(arch::mfn_to_virt<uint8_t>(run.mfn) + offset, piece);
        address += piece;
        bytes -= piece;
    }
}

void Dom0Frames::copy_in(uint64_t address, boot::Bytes bytes) {
    const uint8_t* from = bytes.data();
    for_each_piece(address, bytes.size(), [&](uint8_t* to, uint64_t count) {
        __builtin_memcpy(to, from, count);
        from += count;
    });
}

void Dom0Frames::zero(uint64_t address, uint64_t bytes) {
    for_each_piece(address, bytes,
                   [](uint8_t* to, uint64_t count) { __builtin_memset(to, 0, count); });
}

}  // namespace hv::pv
