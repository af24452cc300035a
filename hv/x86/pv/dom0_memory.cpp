#include "hv/x86/pv/dom0_memory.hpp"

#include <algorithm>
#include <bit>

#include "arch/memory.hpp"
#include "hv/memory/allocator.hpp"

namespace hv::pv {
namespace {

// Enough for 4 TiB in blocks of 1 GiB, or for a machine whose memory is badly broken up.
constexpr size_t kMaxRuns = 4096;

constexpr uint64_t kEntriesPerPage = kPageSize / sizeof(uint64_t);
constexpr uint64_t kInvalidEntry = ~uint64_t{0};  // INVALID_P2M_ENTRY: no frame at this pfn

}  // namespace

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

void Dom0Frames::write_list(Pfn first, uint64_t list_pages) {
    const auto all = runs();
    auto run = all.begin();
    for (uint64_t page = 0; page < list_pages; ++page) {
        auto* entries = arch::mfn_to_virt<uint64_t>(mfn(first + page));
        uint64_t pfn = page * kEntriesPerPage;
        const uint64_t page_end = pfn + kEntriesPerPage;
        while (pfn < page_end && run != all.end()) {
            const uint64_t run_end = run->pfn.raw() + run->count;
            const uint64_t delta = run->mfn.raw() - run->pfn.raw();
            for (const uint64_t end = std::min(page_end, run_end); pfn < end; ++pfn)
                *entries++ = pfn + delta;
            if (pfn == run_end) ++run;
        }
        for (; pfn < page_end; ++pfn) *entries++ = kInvalidEntry;
    }
}

}  // namespace hv::pv
