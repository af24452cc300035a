// The operations on tables as a whole: where their frames are, how large they may be, versions.
#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/ops.hpp"
#include "hv/policy/policy.hpp"

namespace hv::grant {
namespace {

Domain& self() {
    return *arch::current().domain;
}

/// The domain whose table an operation names, if the caller may deal with it.
Status named_domain(domid_t domid, DomainRef& out) {
    auto found = Domain::find_or_self(DomId{domid});
    if (!found) return GNTST_bad_domain;
    if (!policy::check(policy::Op::kGrantForOther, self(), found->get()))
        return GNTST_permission_denied;
    out = std::move(*found);
    return GNTST_okay;
}

/// Tells the guest the MFNs of the first `count` of `frames`.
Status list_frames(const heap::OwnedArray<void*>& frames, uint32_t count, GuestOut<uint64_t> list) {
    for (uint32_t i = 0; i < count; ++i)
        if (!list.store(arch::virt_to_mfn(frames[i]).raw(), i)) return GNTST_bad_virt_addr;
    return GNTST_okay;
}

Status setup(const gnttab_setup_table& op) {
    DomainRef domain;
    if (Status status = named_domain(op.dom, domain); status != GNTST_okay) return status;
    GrantTable& table = *domain->grants;
    {
        LockGuard guard(table.lock);
        if (domain->dying.load() != Dying::kAlive || !table.grow(op.nr_frames))
            return GNTST_general_error;
    }
    // Without the lock: frames are only ever added.
    return list_frames(table.frames, op.nr_frames, GuestOut<uint64_t>(op.frame_list));
}

Status status_frames(const gnttab_get_status_frames& op) {
    DomainRef domain;
    if (Status status = named_domain(op.dom, domain); status != GNTST_okay) return status;
    GrantTable& table = *domain->grants;
    uint64_t mfns[16];
    static_assert(sizeof(mfns) / sizeof(mfns[0]) >= 64 * kEntriesPerFrameV2 / kStatusPerFrame);
    {
        // With the lock: a change to version 1 takes the frames away.
        LockGuard guard(table.lock);
        if (table.version != 2 || op.nr_frames > table.status_count) return GNTST_general_error;
        for (uint32_t i = 0; i < op.nr_frames; ++i)
            mfns[i] = arch::virt_to_mfn(table.status_frames[i]).raw();
    }
    GuestOut<uint64_t> list(op.frame_list);
    return list.store_many({mfns, op.nr_frames}) ? GNTST_okay : GNTST_bad_virt_addr;
}

}  // namespace

Outcome setup_table(Batch batch) {
    if (batch.count != 1) return Errno::kEINVAL;
    GuestInOut<gnttab_setup_table> arg(batch.address.raw());
    auto op = arg.load();
    if (!op) return Errno::kEFAULT;
    op->status = setup(*op);
    return arg.store_field(*op, &gnttab_setup_table::status);
}

Outcome get_status_frames(Batch batch) {
    if (batch.count != 1) return Errno::kEINVAL;
    GuestInOut<gnttab_get_status_frames> arg(batch.address.raw());
    auto op = arg.load();
    if (!op) return Errno::kEFAULT;
    op->status = status_frames(*op);
    return arg.store_field(*op, &gnttab_get_status_frames::status);
}

Outcome query_size(Batch batch) {
    if (batch.count != 1) return Errno::kEINVAL;
    GuestInOut<gnttab_query_size> arg(batch.address.raw());
    auto op = arg.load();
    if (!op) return Errno::kEFAULT;
    DomainRef domain;
    op->status = named_domain(op->dom, domain);
    if (op->status == GNTST_okay) {
        LockGuard guard(domain->grants->lock);
        op->nr_frames = domain->grants->frame_count;
        op->max_nr_frames = domain->grants->limits.max_frames;
    }
    return arg.store(*op);
}

Outcome get_version(Batch batch) {
    GuestInOut<gnttab_get_version> arg(batch.address.raw());
    auto op = arg.load();
    if (!op) return Errno::kEFAULT;
    auto domain = Domain::find_or_self(DomId{op->dom});
    if (!domain) return Errno::kESRCH;
    if (auto allowed = policy::check(policy::Op::kGrantForOther, self(), domain->get()); !allowed)
        return Fail{allowed.error()};
    op->version = (*domain)->grants->version;
    return arg.store_field(*op, &gnttab_get_version::version);
}

}  // namespace hv::grant
