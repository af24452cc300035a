// HYPERVISOR_mmu_update and update_va_mapping(_otherdomain): checked writes to page tables
// (xen.h, "HYPERVISOR_mmu_update").
#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/policy/policy.hpp"
#include "hv/x86/paging/flush.hpp"
#include "hv/x86/pv/isolation.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/page_type.hpp"
#include "hv/x86/pv/update_flush.hpp"

namespace hv {
namespace {

using namespace pv;
using paging::Entry;

/// Whose frames entries may name.
struct FrameOwner {
    DomId id;
    DomainRef held;  ///< keeps another domain from going away meanwhile
};

/// Whose tables and whose frames an update is about: `foreigndom` holds the frames' owner in its
/// low half and, plus one, the tables' owner in its high half.
struct Owners {
    Domain* tables;
    DomainRef held;  ///< `tables`, if it is another
    FrameOwner frames;
};

/// Another domain, or none for the caller itself, which stays anyway.
Result<DomainRef> other_domain(uint16_t id) {
    Domain& self = *arch::current().domain;
    // DOMID_IO names device memory, which is asked for by frame and not by owner.
    if (id == DOMID_SELF || id == DOMID_IO || DomId{id} == self.id) return DomainRef{};
    DomainRef domain = TRY(Domain::find(DomId{id}));
    TRY(policy::check(policy::Op::kMapForeign, self, domain.get()));
    return domain;
}

Result<FrameOwner> frame_owner(uint16_t id) {
    Domain& self = *arch::current().domain;
    if (id == DOMID_XEN) {  // what the hypervisor shows to the control domain: the M2P
        TRY(policy::check(policy::Op::kMapForeign, self));
        return FrameOwner{DomId{DOMID_XEN}, {}};
    }
    DomainRef other = TRY(other_domain(id));
    const DomId owner = other ? other->id : self.id;
    return FrameOwner{owner, static_cast<DomainRef&&>(other)};
}

Result<Owners> decode_owners(uint32_t foreigndom) {
    Domain* const self = arch::current().domain;
    if (foreigndom == DOMID_SELF) return Owners{self, {}, {self->id, {}}};
    const uint32_t tables = foreigndom >> 16;
    DomainRef other = TRY(other_domain(tables ? static_cast<uint16_t>(tables - 1) : DOMID_SELF));
    FrameOwner frames = TRY(frame_owner(static_cast<uint16_t>(foreigndom)));
    Domain* const owner = other ? other.get() : self;
    return Owners{owner, static_cast<DomainRef&&>(other), static_cast<FrameOwner&&>(frames)};
}

/// The page-table page of the previous request, so that a run of updates to it looks it up once.
class TableCursor {
  public:
    Result<PageInfo*> table(Domain& owner, Mfn mfn) {
        if (!page_ || page_.mfn() != mfn) page_ = TRY(PageRef::take(mfn, owner.id));
        return page_.get();
    }

  private:
    PageRef page_;
};

/// A frame that is no page table (any more): an ordinary write, while it is held writable.
Result<> plain_write(PageInfo& page, uint64_t* slot, uint64_t value) {
    if (!page.get_writable_type()) return Errno::kEINVAL;
    __atomic_store_n(slot, value, __ATOMIC_RELAXED);
    page.put_simple_type();
    return {};
}

Result<> update_entry(Owners& owners, TableCursor& cursor, uint64_t address, uint64_t value,
                      bool preserve_ad) {
    Domain& domain = *owners.tables;
    PageInfo& page = *TRY(cursor.table(domain, mfn_of(address)));
    auto* slot = arch::machine_to_virt<uint64_t>(address);
    const uint64_t word = page.type.load(std::memory_order_acquire);
    const PageType type = page.page_type();
    const bool table =
        type >= PageType::kL1 && type <= PageType::kL4 && (word & PageInfo::kTypeCountMask);
    if (!table) return plain_write(page, slot, value);
    // Checked in part only: an interrupted pin that is still to be continued.
    if (!(word & PageInfo::kValidated)) return Errno::kEINVAL;
    const auto level = static_cast<unsigned>(type);
    TRY(replace_entry(domain, owners.frames.id, page, level, reinterpret_cast<Entry*>(slot),
                      Entry(value), preserve_ad));
    if (level == 4) isolation::l4_changed(domain);
    return {};
}

/// MMU_MACHPHYS_UPDATE: what the M2P says of a frame of the domain's.
Result<> update_machphys(Owners& owners, Mfn mfn, uint64_t pfn) {
    PageRef page = TRY(PageRef::take(mfn, owners.frames.id));
    arch::set_m2p(mfn, pfn);
    return {};
}

Result<> apply(Owners& owners, TableCursor& cursor, const mmu_update& request) {
    const uint64_t command = request.ptr & 7;
    const uint64_t address = request.ptr & ~uint64_t{7};
    switch (command) {
        case MMU_NORMAL_PT_UPDATE:
        case MMU_PT_UPDATE_NO_TRANSLATE:  // a PV guest's entries hold machine frames in any case
            return update_entry(owners, cursor, address, request.val, false);
        case MMU_PT_UPDATE_PRESERVE_AD:
            return update_entry(owners, cursor, address, request.val, true);
        case MMU_MACHPHYS_UPDATE:
            return update_machphys(owners, mfn_of(request.ptr), request.val);
        default:
            return Errno::kENOSYS;
    }
}

// In `count`: the call goes on after an interruption; the entries before were counted already.
constexpr uint64_t kContinued = uint64_t{1} << 31;  // beyond any count the ABI allows

Result<> report_done(GuestInOut<unsigned> done, uint64_t now, bool continued) {
    if (done.is_null()) return {};
    unsigned before = 0;
    if (continued) before = TRY(done.load());
    return done.store(before + static_cast<unsigned>(now));
}

}  // namespace

Outcome do_mmu_update(uint64_t requests, uint64_t count, uint64_t done_address, uint64_t foreigndom,
                      uint64_t) {
    const bool continued = count & kContinued;
    count &= ~kContinued & 0xffffffff;
    const GuestIn<mmu_update> list(requests);
    const GuestInOut<unsigned> done(done_address);
    if (const Result<> parked = finish_parked(arch::current()); !parked.ok())
        return continue_with({requests, count | (continued ? kContinued : 0)});

    Result<Owners> owners = decode_owners(static_cast<uint32_t>(foreigndom));
    if (!owners.ok()) return owners.error();

    Result<> result;
    uint64_t i = 0;
    {
        LockGuard guard(owners->tables->arch.paging_lock);
        TableCursor cursor;
        for (; i < count; ++i) {
            if (i && (i & 63) == 0 && preempt_requested()) {
                result = Errno::kERESTART;
                break;
            }
            Result<mmu_update> request = list.load(i);
            if (!request.ok()) {
                result = request.error();
                break;
            }
            result = apply(*owners, cursor, *request);
            if (!result.ok()) break;
            // What was left half dropped is finished before the guest sees the call return: it may
            // use
            // the frames as something else right away.
            if (arch::current().arch.pv.parked_table != kInvalidMfn) {
                ++i;
                result = Errno::kERESTART;
                break;
            }
        }
    }
    if (const Result<> told = report_done(done, i, continued); !told.ok()) return told.error();
    if (!result.ok() && result.error() == Errno::kERESTART)
        return continue_with({list.at(i, sizeof(mmu_update)), (count - i) | kContinued});
    return result;
}

namespace {

Outcome update_va(uint64_t linear, uint64_t value, uint64_t flags, DomId frame_owner) {
    Vcpu& vcpu = arch::current();
    Domain& domain = *vcpu.domain;
    if (const Result<> parked = finish_parked(vcpu); !parked.ok())
        return continue_with({linear, value, flags});
    Result<> result = Errno::kEINVAL;
    {
        LockGuard guard(domain.arch.paging_lock);
        if (Entry* slot = find_leaf(vcpu, linear)) {
            PageInfo& table = *page_info(arch::virt_to_mfn(slot));
            result = replace_entry(domain, frame_owner, table, 1, slot, Entry(value), false);
        }
    }
    if (!result.ok()) return result;
    return flush_after_update(vcpu, linear, flags);
}

}  // namespace

Outcome do_update_va_mapping(uint64_t linear, uint64_t value, uint64_t flags, uint64_t, uint64_t) {
    return update_va(linear, value, flags, arch::current().domain->id);
}

Outcome do_update_va_mapping_otherdomain(uint64_t linear, uint64_t value, uint64_t flags,
                                         uint64_t domid, uint64_t) {
    const Result<FrameOwner> frames = frame_owner(static_cast<uint16_t>(domid));
    if (!frames.ok()) return frames.error();
    return update_va(linear, value, flags, frames->id);
}

}  // namespace hv
