// Tables come, grow and go; what other rooms ask of them.
#include "hv/grant/table.hpp"

#include <algorithm>

#include "hv/domain/domain.hpp"
#include "hv/memory/allocator.hpp"

namespace hv {

using grant::kActivePerPage;
using grant::kEntriesPerFrameV1;
using grant::kEntriesPerFrameV2;
using grant::kStatusPerFrame;

namespace {

constexpr uint32_t kActivePagesPerFrame = kEntriesPerFrameV1 / kActivePerPage;

/// A zeroed frame of ours that `domain` may map and write.
Result<void*> shared_frame(Domain& domain, memory::Access access) {
    Mfn mfn = TRY(memory::alloc_frames(0));
    memory::share_frame(mfn, domain, access);
    return arch::mfn_to_virt(mfn);
}

void retire(const heap::OwnedArray<void*>& frames, uint32_t count, Domain& domain) {
    for (uint32_t i = 0; i < count; ++i)
        memory::retire_shared_frame(arch::virt_to_mfn(frames[i]), domain);
}

}  // namespace

GrantTable::~GrantTable() {
    retire(frames, frame_count, domain);
    retire(status_frames, status_count, domain);
    for (size_t i = 0; i < active_pages.size(); ++i) heap::release(active_pages[i]);
}

Result<> GrantTable::grow(uint32_t wanted) {
    if (wanted > limits.max_frames) return Errno::kEINVAL;
    while (frame_count < wanted) {
        // Enough active entries for either version, so that a change of version needs none.
        for (uint32_t i = 0; i < kActivePagesPerFrame; ++i) {
            auto*& page = active_pages[frame_count * kActivePagesPerFrame + i];
            if (!page) page = static_cast<grant::ActiveEntry*>(heap::allocate(kPageSize));
            if (!page) return Errno::kENOMEM;
        }
        frames[frame_count] = TRY(shared_frame(domain, memory::Access::kReadWrite));
        ++frame_count;
        if (version == 2) {
            if (Result<> added = add_status_frames(); !added) {
                // The entries of that frame must not exist without their status.
                memory::retire_shared_frame(arch::virt_to_mfn(frames[--frame_count]), domain);
                return added;
            }
        }
        set_version(version);
    }
    return {};
}

Result<> GrantTable::add_status_frames() {
    const uint32_t wanted = frame_count * kEntriesPerFrameV2;
    while (status_count * kStatusPerFrame < wanted) {
        status_frames[status_count] = TRY(shared_frame(domain, memory::Access::kReadWrite));
        ++status_count;
    }
    return {};
}

bool GrantTable::add_first_handle() {
    if (!domain.get()) return false;
    if (mapped_handles.fetch_add(1) != 0) domain.put();  // another CPU's was the first
    return true;
}

void GrantTable::drop_last_handle() {
    domain.put();
}

namespace grant {
namespace {

constexpr Limits kHardLimits = {64, 1024, 2};

/// 4,096 mappings: three busy guests' disks and NICs. Domain 0 maps for everybody and never gives
/// these frames back, so made at once they are not taken for what a guest has left behind.
constexpr uint32_t kDom0MaptrackFrames = 16;

/// A number below 0 in the ABI's field asks for the hypervisor's own limit.
Result<uint32_t> bounded(uint32_t value, uint32_t limit) {
    if (static_cast<int32_t>(value) < 0) return limit;
    if (value > limit) return Errno::kEINVAL;
    return value;
}

}  // namespace

Result<> init_domain(Domain& domain, const Limits& limits) {
    Limits bounds = limits;
    bounds.max_frames = TRY(bounded(limits.max_frames, kHardLimits.max_frames));
    bounds.max_maptrack_frames =
        TRY(bounded(limits.max_maptrack_frames, kHardLimits.max_maptrack_frames));
    if (bounds.max_frames == 0 || bounds.max_version == 0 ||
        bounds.max_version > kHardLimits.max_version)
        return Errno::kEINVAL;

    heap::Owned<GrantTable> table(heap::create<GrantTable>(domain, bounds));
    if (!table) return Errno::kENOMEM;
    uint32_t status_frames =
        (bounds.max_frames * kEntriesPerFrameV2 + kStatusPerFrame - 1) / kStatusPerFrame;
    table->frames = TRY(heap::OwnedArray<void*>::create(bounds.max_frames));
    table->status_frames = TRY(heap::OwnedArray<void*>::create(status_frames));
    table->active_pages =
        TRY(heap::OwnedArray<ActiveEntry*>::create(bounds.max_frames * kActivePagesPerFrame));
    TRY(table->grow(1));
    if (domain.is_hardware)
        TRY(table->maptrack.prepare(kDom0MaptrackFrames, bounds.max_maptrack_frames));
    domain.grants = table.release();
    return {};
}

void destroy_domain(Domain& domain) {
    heap::destroy(domain.grants);
    domain.grants = nullptr;
}

Result<Mfn> table_frame(Domain& domain, uint32_t index, bool status) {
    GrantTable& table = *domain.grants;
    LockGuard guard(table.lock);
    if (domain.dying.load() != Dying::kAlive) return Errno::kEINVAL;
    if (!status) {
        if (index >= table.limits.max_frames) return Errno::kEINVAL;
        TRY(table.grow(index + 1));
        return arch::virt_to_mfn(table.frames[base::index_nospec(index, table.frame_count)]);
    }
    if (table.version != 2) return Errno::kEINVAL;
    if (index >= table.status_frames.size()) return Errno::kEINVAL;
    // The frames of entries whose status is in that frame.
    constexpr uint32_t kFramesPerStatus = kStatusPerFrame / kEntriesPerFrameV2;
    if (index >= table.status_count)
        TRY(table.grow(std::min(index * kFramesPerStatus + 1, table.limits.max_frames)));
    if (index >= table.status_count) return Errno::kEINVAL;
    return arch::virt_to_mfn(table.status_frames[base::index_nospec(index, table.status_count)]);
}

uint32_t max_frames(Domain& domain) {
    return domain.grants->limits.max_frames;
}

Result<> seed(Domain& domain, GrantRef ref, DomId backend, Gfn frame) {
    GrantTable& table = *domain.grants;
    if (ref.raw() >= GNTTAB_NR_RESERVED_ENTRIES) return Errno::kEINVAL;
    EntryGuard guard(table.active(ref.raw()));
    if (table.version == 1) {
        if (frame.raw() >> 32) return Errno::kEINVAL;
        table.entry_v1(ref.raw()).frame = static_cast<uint32_t>(frame.raw());
    } else {
        table.entry_v2(ref.raw()).full_page.frame = frame.raw();
    }
    // The frame first, then the word that makes it valid.
    table.header(ref.raw()).store(uint32_t{backend.raw()} << 16 | GTF_permit_access,
                                  std::memory_order_release);
    return {};
}

}  // namespace grant
}  // namespace hv
