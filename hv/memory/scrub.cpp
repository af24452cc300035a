// Scrubbing on idle CPUs: what domains freed becomes zeros before anybody waits for it. Memory that
// was never used holds nobody's data and is left alone (writing it all would only cost).
#include <algorithm>

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/memory/free_memory.hpp"

namespace hv::memory {

namespace {

constexpr uint64_t kFramesAtOnce = 8;     // cleared under the lock in one go: a few microseconds
constexpr uint64_t kChecksAtOnce = 1024;  // frames looked at

/// Where the last round stopped in its block. Only a hint: a frame that is missed this way keeps
/// its flag and is scrubbed when it is allocated.
struct Cursor {
    Mfn block = kInvalidMfn;
    uint64_t offset = 0;
};
constinit Cursor cursor;  // under the allocator's lock

// A flush makes all that was freed before it fit for scrubbing, so a dying domain's frames are left
// to gather for a while: one flush for each would keep every CPU busy with flushing.
constexpr Nanoseconds kBetweenFlushes = 20 * kMillisecond;
constinit Nanoseconds last_flush = 0;  // under the allocator's lock

/// Not before the flush: a stale TLB entry could write to the frame once more. False: later.
bool may_scrub(const PageInfo& page) {
    if (!page.has(PageInfo::kStamped)) return true;
    const auto stamp = static_cast<uint32_t>(page.type.load() >> PageInfo::kAuxShift);
    const CpuMask stale = arch::cpus_not_flushed_since(arch::online_cpus(), stamp);
    if (stale.empty()) return true;
    const Nanoseconds now = arch::now();
    if (now - last_flush < kBetweenFlushes) return false;
    last_flush = now;
    arch::flush_tlb(stale);
    return true;
}

void scrub(Mfn mfn, PageInfo& page) {
    arch::clear_page(mfn);
    page.refs.store(PageInfo::kZeroed);
    page.type.store(0);
}

}  // namespace

bool scrub_some() {
    auto memory = free_memory.lock();
    Buddy::DirtyBlock block;
    if (!memory->buddy.find_dirty(block)) return false;
    const uint64_t count = uint64_t{1} << block.order;
    if (cursor.block != block.first || cursor.offset >= count) cursor = {block.first, 0};

    const uint64_t stop = std::min(count, cursor.offset + kChecksAtOnce);
    uint64_t scrubbed = 0;
    for (; cursor.offset < stop && scrubbed < kFramesAtOnce; ++cursor.offset) {
        if (cursor.offset == 0) continue;  // the block's links lie in its first frame: at the end
        PageInfo& page = page_of(block.first + cursor.offset);
        if (!page.has(PageInfo::kNeedsScrub)) continue;
        if (!may_scrub(page)) return false;
        scrub(block.first + cursor.offset, page);
        ++scrubbed;
    }
    if (cursor.offset < count) return true;
    cursor = {};
    PageInfo& head = page_of(block.first);
    if (head.has(PageInfo::kNeedsScrub) && !may_scrub(head)) return false;
    memory->buddy.withdraw(block);
    if (head.has(PageInfo::kNeedsScrub)) scrub(block.first, head);
    memory->buddy.insert(block.first, block.order, false);
    return memory->buddy.find_dirty(block);
}

}  // namespace hv::memory
