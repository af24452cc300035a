// GNTTABOP_transfer: gives a frame of the caller's away to a domain that has asked for one with a
// GTF_accept_transfer entry.
//
// Once the frame has left the caller it does not come back: whatever goes wrong after that, it is
// freed, as the ABI says.
#include "arch/cpu.hpp"
#include "arch/guest_frame.hpp"
#include "arch/memory.hpp"
#include "hv/console/trace.hpp"
#include "hv/domain/domain.hpp"
#include "hv/grant/ops.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/policy/policy.hpp"

namespace hv::grant {
namespace {

/// How often the receiver may change its entry under our hands.
constexpr int kAttempts = 5;

/// Checks that `receiver` expects a frame of `giver` at `ref` and commits to it: the receiver
/// leaves the entry alone from then on. Table locked.
bool commit(GrantTable& receiver, uint32_t ref, DomId giver) {
    auto header = receiver.header(ref);
    uint32_t seen = header.load();
    const uint32_t expected = uint32_t{giver.raw()} << 16 | GTF_accept_transfer;
    for (int i = 0; i < kAttempts; ++i) {
        if (seen != expected) return false;
        if (header.compare_exchange_strong(seen, seen | GTF_transfer_committed)) return true;
    }
    return false;
}

/// Tells the receiver its new frame: the frame number first, then the flag that says it is there.
void complete(GrantTable& receiver, uint32_t ref, Mfn mfn) {
    uint64_t pfn;  // where the receiver wants it, which for PV means what the M2P is to say
    if (receiver.version == 1) {
        std::atomic_ref<uint32_t> frame(receiver.entry_v1(ref).frame);
        pfn = frame.exchange(static_cast<uint32_t>(mfn.raw()));
    } else {
        std::atomic_ref<uint64_t> frame(receiver.entry_v2(ref).full_page.frame);
        pfn = frame.exchange(mfn.raw());
    }
    // The receiver may have given it up already: then the M2P's entry is somebody else's.
    if (auto page = PageRef::take(mfn, receiver.domain.id)) arch::set_m2p(mfn, pfn);
    receiver.header(ref).fetch_or(GTF_transfer_completed);
}

/// Hands `page`, which belongs to nobody now, to the receiver. On failure it still belongs to
/// nobody.
Status hand_over(PageInfo& page, Domain& giver, Domain& receiver, uint32_t ref) {
    GrantTable& table = *receiver.grants;
    const Mfn mfn = mfn_of(page);
    LockGuard guard(table.lock);
    const uint32_t count = table.entry_count();
    if (ref >= count) return GNTST_general_error;
    ref = static_cast<uint32_t>(base::index_nospec(ref, count));
    // A version 1 entry has 32 bits for the answer.
    if (table.version == 1 && mfn.raw() >> 32) return GNTST_address_too_big;
    if (!commit(table, ref, giver.id)) return GNTST_general_error;
    if (!memory::assign_page(page, receiver)) {
        table.header(ref).fetch_and(~uint32_t{GTF_transfer_committed});
        return GNTST_general_error;
    }
    complete(table, ref, mfn);
    trace::event(TRC_MEM_PAGE_GRANT_TRANSFER, receiver.id.raw());
    return GNTST_okay;
}

Status find_receiver(Domain& giver, domid_t domid, DomainRef& out) {
    auto found = Domain::find(DomId{domid});
    if (!found) return GNTST_bad_domain;
    if (!policy::check(policy::Op::kSendTo, giver, found->get())) return GNTST_permission_denied;
    out = std::move(found).value();
    return GNTST_okay;
}

Status transfer_one(Domain& giver, const gnttab_transfer& op) {
    auto mfn = arch::guest_frame_to_mfn(giver, Gfn{op.mfn});
    if (!mfn) return GNTST_bad_page;
    auto stolen = memory::steal_page(*mfn, giver);
    if (!stolen) return GNTST_bad_page;
    // Nothing maps it any more, but a TLB may remember.
    arch::set_m2p(*mfn, arch::kInvalidM2p);
    arch::flush_tlb(giver.dirty_cpus.snapshot());

    DomainRef receiver;
    Status status = find_receiver(giver, op.domid, receiver);
    if (status == GNTST_okay) status = hand_over(**stolen, giver, *receiver, op.ref);
    if (status != GNTST_okay) memory::free_frames(*mfn, 0);
    return status;
}

}  // namespace

Outcome transfer_batch(Batch batch) {
    GuestInOut<gnttab_transfer> ops(batch.address.raw());
    Domain& giver = *arch::current().domain;
    for (uint32_t i = 0; i < batch.count; ++i) {
        if (i % kElementsPerLook == kElementsPerLook - 1 && preempt_requested())
            return batch.continue_after(i, GNTTABOP_transfer, sizeof(gnttab_transfer));
        auto op = ops.load(i);
        if (!op) return Errno::kEFAULT;
        op->status = transfer_one(giver, *op);
        if (!ops.store_field(*op, &gnttab_transfer::status, i)) return Errno::kEFAULT;
    }
    return Outcome{};
}

}  // namespace hv::grant
