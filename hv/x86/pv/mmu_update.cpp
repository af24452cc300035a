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
#include "hv/x86/pv/leaf.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/page_type.hpp"
#include "hv/x86/pv/pin.hpp"
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
    const uint32_t tables = foreigndom >> 16;
    DomainRef other = TRY(other_domain(tables ? static_cast<uint16_t>(tables - 1) : DOMID_SELF));
    FrameOwner frames = TRY(frame_owner(static_cast<uint16_t>(foreigndom)));
    Domain* const owner = other ? other.get() : self;
    return Owners{owner, static_cast<DomainRef&&>(other), static_cast<FrameOwner&&>(frames)};
}

/// What a run of requests has in common: whose tables and frames it is about, and the table of the
/// request before, which is mostly that of the next. Holds the tables' paging lock as who changes
/// leaves until a request is about something else, and from then on alone (which the analysis of
/// locks cannot follow).
class Batch {
  public:
    Batch(Domain& table_owner, DomId frame_owner) XEN_TSA(no_thread_safety_analysis)
        : tables_(table_owner),
          frames_(frame_owner),
          share_(table_owner.arch.paging_lock.lock_leaves(arch::lock_stripe())) {}
    ~Batch() XEN_TSA(no_thread_safety_analysis) {
        if (!share_) [[unlikely]]
            tables_.arch.paging_lock.unlock();
        else
            tables_.arch.paging_lock.unlock_leaves(share_);
    }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    Result<> apply(const mmu_update& request);
    /// Between two requests: a list may be as long as its guest likes, and who waits for the lock
    /// may be another guest's tools.
    [[gnu::noinline]] void let_others_in() XEN_TSA(no_thread_safety_analysis);

  private:
    [[gnu::always_inline]] inline Result<> update_entry(uint64_t address, uint64_t value,
                                                        bool preserve_ad);
    [[gnu::noinline]] Result<> update_other_page(uint64_t address, uint64_t value,
                                                 bool preserve_ad);
    [[gnu::noinline]] Result<> apply_other(const mmu_update& request);
    void be_alone() XEN_TSA(no_thread_safety_analysis);

    Domain& tables_;
    DomId frames_;
    PagingLock::LeavesShare share_;  ///< none: it has the lock alone
    PageRef page_;                   ///< of the request before
    Mfn leaf_table_ = kInvalidMfn;   ///< the same, if it is a checked L1 table
};

void Batch::be_alone() {
    if (!share_) return;
    tables_.arch.paging_lock.unlock_leaves(share_);
    tables_.arch.paging_lock.lock();
    share_ = {};
}

void Batch::let_others_in() {
    PagingLock& lock = tables_.arch.paging_lock;
    if (!(share_ ? lock.are_leaves_wanted() : lock.is_wanted())) return;
    leaf_table_ = kInvalidMfn;  // may be none when we have the lock again
    if (share_) {
        lock.unlock_leaves(share_);
        share_ = lock.lock_leaves(arch::lock_stripe());
    } else {
        lock.unlock();
        lock.lock();
    }
}

/// A frame that is no page table (any more): an ordinary write, while it is held writable.
Result<> plain_write(PageInfo& page, uint64_t* slot, uint64_t value) {
    if (!page.get_writable_type()) return Errno::kEINVAL;
    __atomic_store_n(slot, value, __ATOMIC_RELAXED);
    page.put_simple_type();
    return {};
}

constexpr bool is_checked_leaf_table(uint64_t type_word) {
    constexpr uint64_t kWant = uint64_t{static_cast<uint8_t>(PageType::kL1)}
                                   << PageInfo::kTypeShift |
                               PageInfo::kValidated;
    return (type_word & (PageInfo::kTypeMask | PageInfo::kValidated)) == kWant;
}

/// The usual: an entry of the L1 table that the last request was about. Nobody can change what the
/// frame is meanwhile but who keeps changes of leaves out: an update of ours of a table above it,
/// which forgets it (update_other_page).
Result<> Batch::update_entry(uint64_t address, uint64_t value, bool preserve_ad) {
    if (mfn_of(address) != leaf_table_) {
        if (!page_ || page_.mfn() != mfn_of(address))
            page_ = TRY(PageRef::take(mfn_of(address), tables_.id));
        if (!is_checked_leaf_table(page_->type.load(std::memory_order_acquire))) [[unlikely]]
            return update_other_page(address, value, preserve_ad);
        leaf_table_ = mfn_of(address);
    }
    // In that table by all means, also where a CPU only takes it that the request is about it.
    Entry* slot = arch::mfn_to_virt<Entry>(leaf_table_) + (address & ~kPageMask) / sizeof(Entry);
    return replace_leaf(tables_, frames_, slot, Entry(value), preserve_ad);
}

/// An entry of a higher table, or a word of a frame that is none. `page_` is its frame.
Result<> Batch::update_other_page(uint64_t address, uint64_t value, bool preserve_ad) {
    leaf_table_ = kInvalidMfn;
    be_alone();
    PageInfo& page = *page_.get();
    auto* slot = arch::machine_to_virt<uint64_t>(address);
    const uint64_t word = page.type.load(std::memory_order_acquire);
    // It may have become one while nobody had the lock.
    if (is_checked_leaf_table(word))
        return replace_leaf(tables_, frames_, reinterpret_cast<Entry*>(slot), Entry(value),
                            preserve_ad);
    const PageType type = page.page_type();
    const bool table =
        type >= PageType::kL1 && type <= PageType::kL4 && (word & PageInfo::kTypeCountMask);
    if (!table) return plain_write(page, slot, value);
    // Checked in part only: an interrupted pin that is still to be continued.
    if (!(word & PageInfo::kValidated)) return Errno::kEINVAL;
    const auto level = static_cast<unsigned>(type);
    TRY(replace_entry(tables_, page, level, reinterpret_cast<Entry*>(slot), Entry(value),
                      preserve_ad));
    if (level == 4) isolation::l4_changed(tables_, arch::mfn_to_virt<Entry>(page_.mfn()));
    return {};
}

inline Result<> Batch::apply(const mmu_update& request) {
    const uint64_t command = request.ptr & 7;
    // A PV guest's entries hold machine frames in any case: both names mean the same.
    if (command == MMU_NORMAL_PT_UPDATE || command == MMU_PT_UPDATE_NO_TRANSLATE) [[likely]]
        return update_entry(request.ptr - command, request.val, false);
    return apply_other(request);
}

Result<> Batch::apply_other(const mmu_update& request) {
    const uint64_t command = request.ptr & 7;
    switch (command) {
        case MMU_PT_UPDATE_PRESERVE_AD:
            return update_entry(request.ptr - command, request.val, true);
        case MMU_MACHPHYS_UPDATE: {  // what the M2P says of a frame of the domain's
            const Mfn mfn = mfn_of(request.ptr);
            PageRef page = TRY(PageRef::take(mfn, frames_));
            arch::set_m2p(mfn, request.val);
            return {};
        }
        default:
            return Errno::kENOSYS;
    }
}

// In `count`: the call goes on after an interruption; the entries before were counted already.
constexpr uint64_t kContinued = uint64_t{1} << 31;  // beyond any count the ABI allows

Result<> report_done(GuestInOut<unsigned> done, uint64_t now, bool continued) {
    unsigned before = 0;
    if (continued) before = TRY(done.load());
    return done.store(before + static_cast<unsigned>(now));
}

/// continue_with() out of line: its list of arguments would give its caller a frame to guard.
template <class... Arguments>
[[gnu::noinline]] Outcome again(Arguments... arguments) {
    return continue_with({arguments...});
}

/// The list at `address` of `count` requests (perhaps with kContinued) about the tables of one
/// domain and the frames of perhaps another.
Outcome update_tables(Domain& tables, DomId frames, uint64_t address, uint64_t count,
                      uint64_t done) {
    const Mfn& parked = arch::current().arch.pv.parked_table;
    const uint64_t wanted = count & (kContinued - 1);
    uint64_t left = wanted;
    Result<> result;
    {
        Batch batch(tables, frames);
        for (; left; --left, address += sizeof(mmu_update)) {
            if ((left & 63) == 0 && left != wanted) {
                if (preempt_requested()) {
                    result = Errno::kERESTART;
                    break;
                }
                batch.let_others_in();
            }
            mmu_update request;
            result = GuestIn<mmu_update>(address).fetch(request);
            if (result.ok()) result = batch.apply(request);
            if (!result.ok()) break;
            // What was left half dropped is finished before the guest sees the call return: it may
            // use the frames as something else right away.
            if (parked != kInvalidMfn) {
                --left, address += sizeof(mmu_update);
                result = Errno::kERESTART;
                break;
            }
        }
    }
    if (done) {
        const Result<> told =
            report_done(GuestInOut<unsigned>(done), wanted - left, (count & kContinued) != 0);
        if (!told.ok()) return told.error();
    }
    if (!result.ok() && result.error() == Errno::kERESTART)
        return again(address, left | kContinued);
    return result;
}

/// Another domain's tables or frames: how the tools build a domain and map its memory.
[[gnu::noinline]] Outcome update_foreign(uint32_t foreigndom, uint64_t address, uint64_t count,
                                         uint64_t done) {
    Result<Owners> owners = decode_owners(foreigndom);
    if (!owners.ok()) return owners.error();
    return update_tables(*owners->tables, owners->frames.id, address, count, done);
}

}  // namespace

Outcome do_mmu_update(uint64_t address, uint64_t count, uint64_t done, uint64_t foreigndom,
                      uint64_t) {
    Vcpu& vcpu = arch::current();
    count = static_cast<uint32_t>(count);
    if (vcpu.arch.pv.parked_table != kInvalidMfn && !finish_parked(vcpu).ok()) [[unlikely]]
        return again(address, count);
    // The caller's own, which needs no reference: it cannot go away under its own vCPU.
    if (static_cast<uint32_t>(foreigndom) == DOMID_SELF) [[likely]]
        return update_tables(*vcpu.domain, vcpu.domain->id, address, count, done);
    return update_foreign(static_cast<uint32_t>(foreigndom), address, count, done);
}

namespace {

Outcome update_va(uint64_t linear, uint64_t value, uint64_t flags, DomId frames) {
    Vcpu& vcpu = arch::current();
    Domain& domain = *vcpu.domain;
    if (vcpu.arch.pv.parked_table != kInvalidMfn && !finish_parked(vcpu).ok())
        return again(linear, value, flags);
    Result<> result = Errno::kEINVAL;
    {
        LeavesGuard guard(domain.arch.paging_lock, arch::lock_stripe());
        if (Entry* slot = find_leaf(vcpu, linear))
            result = replace_leaf(domain, frames, slot, Entry(value), false);
    }
    if (!result.ok() || !(flags & UVMF_FLUSHTYPE_MASK)) return result;
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
