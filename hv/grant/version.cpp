// GNTTABOP_set_version and GNTTABOP_swap_grant_ref: what rewrites entries of the caller's table.
#include <algorithm>
#include <cstring>
#include <utility>

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/ops.hpp"
#include "hv/memory/allocator.hpp"

namespace hv::grant {
namespace {

constexpr uint32_t kReserved = GNTTAB_NR_RESERVED_ENTRIES;

/// The tools' entries (console, xenstore) as either version can hold them.
using ReservedEntries = grant_entry_v1[kReserved];

/// All entries' locks: who has them may change the version. The table is locked, so that there is
/// one such at a time and no entry comes meanwhile.
class AllEntriesGuard {
  public:
    explicit AllEntriesGuard(GrantTable& table) XEN_TSA(no_thread_safety_analysis) : table_(table) {
        for (uint32_t i = 0; i < count(); ++i) table.active(i).lock.lock();
        if constexpr (base::kCheckLockOrder) base::note_lock_taken(EntryGuard::kRank);
    }
    ~AllEntriesGuard() XEN_TSA(no_thread_safety_analysis) {
        if constexpr (base::kCheckLockOrder) base::note_lock_dropped(EntryGuard::kRank);
        for (uint32_t i = 0; i < count(); ++i) table_.active(i).lock.unlock();
    }
    AllEntriesGuard(const AllEntriesGuard&) = delete;
    AllEntriesGuard& operator=(const AllEntriesGuard&) = delete;

  private:
    /// As version 1 counts them, which has the most.
    uint32_t count() const { return table_.frame_count * kEntriesPerFrameV1; }

    GrantTable& table_;
};

bool in_use(GrantTable& table) {
    // The reserved ones may be: their users keep them mapped.
    for (uint32_t ref = kReserved; ref < table.entry_count(); ++ref)
        if (table.active(ref).pinned()) return true;
    return false;
}

/// kERANGE: an entry that version 1 cannot express.
Result<> save_reserved(GrantTable& table, ReservedEntries& saved) {
    if (table.version == 1) {
        memcpy(saved, &table.entry_v1(0), sizeof(saved));
        return {};
    }
    for (uint32_t ref = 0; ref < kReserved; ++ref) {
        grant_entry_v2 entry = table.entry_v2(ref);
        saved[ref] = {};
        uint32_t type = entry.hdr.flags & GTF_type_mask;
        if (type == GTF_transitive) return Errno::kERANGE;
        if (type != GTF_permit_access) continue;
        if (entry.full_page.frame >> 32) return Errno::kERANGE;
        saved[ref].flags = entry.hdr.flags | table.status_v2(ref);
        saved[ref].domid = entry.hdr.domid;
        saved[ref].frame = static_cast<uint32_t>(entry.full_page.frame);
    }
    return {};
}

void restore_reserved(GrantTable& table, const ReservedEntries& saved) {
    if (table.version == 1) {
        memcpy(&table.entry_v1(0), saved, sizeof(saved));
        return;
    }
    constexpr uint16_t kMarks = GTF_reading | GTF_writing;
    for (uint32_t ref = 0; ref < kReserved; ++ref) {
        grant_entry_v2& entry = table.entry_v2(ref);
        table.status_v2(ref) = saved[ref].flags & kMarks;
        entry.full_page.frame = saved[ref].frame;
        entry.hdr.domid = saved[ref].domid;
        entry.hdr.flags = saved[ref].flags & static_cast<uint16_t>(~kMarks);
    }
}

/// Takes the status frames back, all or none; kEBUSY while the domain has one mapped.
Result<> drop_status_frames(GrantTable& table) {
    auto mfn = [&](uint32_t i) { return arch::virt_to_mfn(table.status_frames[i]); };
    for (uint32_t i = 0; i < table.status_count; ++i) {
        if (memory::unshare_frame(mfn(i), table.domain)) continue;
        while (i--) memory::share_frame(mfn(i), table.domain, memory::Access::kReadWrite);
        return Errno::kEBUSY;
    }
    for (uint32_t i = 0; i < table.status_count; ++i) memory::free_frames(mfn(i), 0);
    table.status_count = 0;
    return {};
}

/// kEBUSY: entries or status frames are in use; kERANGE; kENOMEM.
Result<> change_version(GrantTable& table, uint8_t version) {
    LockGuard guard(table.lock);
    if (table.version == version) return {};
    AllEntriesGuard all(table);
    if (in_use(table)) return Errno::kEBUSY;
    ReservedEntries saved;
    TRY(save_reserved(table, saved));
    if (version == 2)
        TRY(table.add_status_frames());
    else
        TRY(drop_status_frames(table));
    for (uint32_t i = 0; i < table.frame_count; ++i) memset(table.frames[i], 0, kPageSize);
    table.set_version(version);
    restore_reserved(table, saved);
    return {};
}

Status swap(GrantTable& table, uint32_t a, uint32_t b) {
    LockGuard guard(table.lock);
    uint32_t count = table.entry_count();
    if (a >= count || b >= count) return GNTST_bad_gntref;
    if (a == b) return GNTST_okay;
    a = static_cast<uint32_t>(base::index_nospec(a, count));
    b = static_cast<uint32_t>(base::index_nospec(b, count));
    EntryGuard first(table.active(std::min(a, b)));
    EntryGuard second(table.active(std::max(a, b)));
    if (table.active(a).pinned() || table.active(b).pinned()) return GNTST_eagain;
    if (table.version == 1) {
        std::swap(table.entry_v1(a), table.entry_v1(b));
    } else {
        std::swap(table.entry_v2(a), table.entry_v2(b));
        std::swap(table.status_v2(a), table.status_v2(b));
    }
    return GNTST_okay;
}

}  // namespace

Outcome set_version(Batch batch) {
    GuestInOut<gnttab_set_version> arg(batch.address.raw());
    auto op = arg.load();
    if (!op) return Errno::kEFAULT;
    GrantTable& table = *arch::current().domain->grants;
    Result<> changed;
    if (op->version != 1 && op->version != 2)
        changed = Errno::kEINVAL;
    else if (op->version > table.limits.max_version)
        changed = Errno::kENOSYS;  // as if the operation did not exist
    else
        changed = change_version(table, static_cast<uint8_t>(op->version));
    op->version = table.version;
    if (!arg.store(*op)) return Errno::kEFAULT;
    return changed;
}

Outcome swap_batch(Batch batch) {
    GuestInOut<gnttab_swap_grant_ref> ops(batch.address.raw());
    GrantTable& table = *arch::current().domain->grants;
    for (uint32_t i = 0; i < batch.count; ++i) {
        if (i % kElementsPerLook == kElementsPerLook - 1 && preempt_requested())
            return batch.continue_after(i, GNTTABOP_swap_grant_ref, sizeof(gnttab_swap_grant_ref));
        auto op = ops.load(i);
        if (!op) return Errno::kEFAULT;
        op->status = swap(table, op->ref_a, op->ref_b);
        if (!ops.store_field(*op, &gnttab_swap_grant_ref::status, i)) return Errno::kEFAULT;
    }
    return Outcome{};
}

}  // namespace hv::grant
