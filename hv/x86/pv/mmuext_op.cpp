// HYPERVISOR_mmuext_op: pinning, base pointers, flushes, the LDT, whole-page operations (xen.h).
#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/policy/policy.hpp"
#include "hv/x86/paging/flush.hpp"
#include "hv/x86/pv/descriptor.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/pin.hpp"
#include "hv/x86/pv/update_flush.hpp"

namespace hv {
namespace {

using namespace pv;

Result<> clear_frame(Domain& domain, Mfn mfn) {
    WritablePageRef page = TRY(WritablePageRef::take(mfn, domain.id));
    arch::clear_page(mfn);
    return {};
}

Result<> copy_frame(Domain& domain, Mfn to, Mfn from) {
    PageRef source = TRY(PageRef::take(from, domain.id));
    WritablePageRef target = TRY(WritablePageRef::take(to, domain.id));
    arch::copy_page(to, from);
    return {};
}

Result<> flush_some(const mmuext_op& op, bool page) {
    Vcpu& vcpu = arch::current();
    const uint64_t linear = op.arg1.linear_addr;
    if (page && !paging::is_guest_address(linear)) return {};
    const CpuMask cpus =
        TRY(cpus_of_vcpus(*vcpu.domain, GuestIn<uint64_t>(GuestAddress(op.arg2.vcpumask).raw())));
    page ? arch::flush_tlb_page(cpus, linear) : arch::flush_tlb(cpus);
    return {};
}

Result<> flush_everywhere(const mmuext_op& op, bool page) {
    const CpuMask cpus = arch::current().domain->dirty_cpus.snapshot();
    const uint64_t linear = op.arg1.linear_addr;
    if (page && !paging::is_guest_address(linear)) return {};
    page ? arch::flush_tlb_page(cpus, linear) : arch::flush_tlb(cpus);
    return {};
}

/// Operations on tables and frames, of the caller's or of a domain that it builds.
Result<> frame_operation(Domain& owner, const mmuext_op& op) {
    const Mfn mfn{op.arg1.mfn};
    switch (op.cmd) {
        case MMUEXT_PIN_L1_TABLE:
            return pin_table(owner, mfn, PageType::kL1);
        case MMUEXT_PIN_L2_TABLE:
            return pin_table(owner, mfn, PageType::kL2);
        case MMUEXT_PIN_L3_TABLE:
            return pin_table(owner, mfn, PageType::kL3);
        case MMUEXT_PIN_L4_TABLE:
            return pin_table(owner, mfn, PageType::kL4);
        case MMUEXT_UNPIN_TABLE:
            return unpin_table(owner, mfn);
        case MMUEXT_CLEAR_PAGE:
            return clear_frame(owner, mfn);
        case MMUEXT_COPY_PAGE:
            return copy_frame(owner, mfn, Mfn{op.arg2.src_mfn});
        default:
            return Errno::kENOSYS;
    }
}

/// Operations on the calling vCPU's own view.
Result<> own_operation(Domain& owner, const mmuext_op& op) {
    Vcpu& vcpu = arch::current();
    const bool foreign = &owner != vcpu.domain;
    if (foreign) return Errno::kEPERM;
    switch (op.cmd) {
        case MMUEXT_NEW_USER_BASEPTR:
            return new_user_base_pointer(Mfn{op.arg1.mfn});
        case MMUEXT_TLB_FLUSH_LOCAL:
            arch::flush_tlb_local();
            return {};
        case MMUEXT_INVLPG_LOCAL:
            invalidate_page(op.arg1.linear_addr);
            return {};
        case MMUEXT_TLB_FLUSH_MULTI:
            return flush_some(op, false);
        case MMUEXT_INVLPG_MULTI:
            return flush_some(op, true);
        case MMUEXT_TLB_FLUSH_ALL:
            return flush_everywhere(op, false);
        case MMUEXT_INVLPG_ALL:
            return flush_everywhere(op, true);
        case MMUEXT_FLUSH_CACHE:
            // Only who drives devices can have a reason; for others Xen, too, refuses.
            if (!vcpu.domain->is_hardware) return Errno::kEACCES;
            arch::flush_cache();
            return {};
        case MMUEXT_FLUSH_CACHE_GLOBAL:
            if (!vcpu.domain->is_hardware) return Errno::kEACCES;
            arch::flush_caches(arch::online_cpus());
            return {};
        case MMUEXT_SET_LDT:
            return set_ldt(vcpu, op.arg1.linear_addr, op.arg2.nr_ents);
        case MMUEXT_MARK_SUPER:
        case MMUEXT_UNMARK_SUPER:
            return Errno::kEOPNOTSUPP;  // direct paging here has no large pages
        default:
            return Errno::kENOSYS;
    }
}

bool is_frame_operation(uint32_t command) {
    return command <= MMUEXT_PIN_L4_TABLE || command == MMUEXT_UNPIN_TABLE ||
           command == MMUEXT_CLEAR_PAGE || command == MMUEXT_COPY_PAGE;
}

Result<> apply(Domain& owner, const mmuext_op& op) {
    // The one that each switch of address spaces takes.
    if (op.cmd == MMUEXT_NEW_BASEPTR && &owner == arch::current().domain) [[likely]]
        return new_base_pointer(Mfn{op.arg1.mfn});
    if (is_frame_operation(op.cmd)) return frame_operation(owner, op);
    return own_operation(owner, op);
}

Result<DomainRef> decode_owner(uint16_t id) {
    DomainRef domain = TRY(Domain::find_or_self(DomId{id}));
    Domain& self = *arch::current().domain;
    if (domain.get() != &self) TRY(policy::check(policy::Op::kMapForeign, self, domain.get()));
    return domain;
}

constexpr uint64_t kContinued = uint64_t{1} << 31;  // beyond any count the ABI allows

Result<> report_done(GuestInOut<unsigned> done, uint64_t now, bool continued) {
    unsigned before = 0;
    if (continued) before = TRY(done.load());
    return done.store(before + static_cast<unsigned>(now));
}

/// continue_with() out of line: its list of arguments would give its caller a frame to guard.
[[gnu::noinline]] Outcome again(uint64_t address, uint64_t left) {
    return continue_with({address, left});
}

/// The list at `address` of `count` operations (perhaps with kContinued), about `owner`'s frames.
Outcome apply_all(Domain& owner, uint64_t address, uint64_t count, uint64_t done) {
    const Mfn& parked = arch::current().arch.pv.parked_table;
    const uint64_t wanted = count & (kContinued - 1);
    uint64_t left = wanted;
    Result<> result;
    for (; left; --left, address += sizeof(mmuext_op)) {
        if (left != wanted && preempt_requested()) {
            result = Errno::kERESTART;
            break;
        }
        mmuext_op op;
        result = GuestIn<mmuext_op>(address).fetch(op);
        if (result.ok()) result = apply(owner, op);
        if (!result.ok()) break;
        // What was left half dropped is finished before the guest sees the call return: it may use
        // the frames as something else right away.
        if (parked != kInvalidMfn) {
            --left, address += sizeof(mmuext_op);
            result = Errno::kERESTART;
            break;
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

[[gnu::noinline]] Outcome apply_to_other(uint16_t owner_id, uint64_t address, uint64_t count,
                                         uint64_t done) {
    Result<DomainRef> owner = decode_owner(owner_id);
    if (!owner.ok()) return owner.error();
    return apply_all(**owner, address, count, done);
}

}  // namespace

Outcome do_mmuext_op(uint64_t address, uint64_t count, uint64_t done, uint64_t foreigndom,
                     uint64_t) {
    Vcpu& vcpu = arch::current();
    count = static_cast<uint32_t>(count);
    if (vcpu.arch.pv.parked_table != kInvalidMfn && !finish_parked(vcpu).ok()) [[unlikely]]
        return again(address, count);
    // The caller's own, which needs no reference: it cannot go away under its own vCPU.
    const auto owner = static_cast<uint16_t>(foreigndom);
    if (owner == DOMID_SELF) [[likely]]
        return apply_all(*vcpu.domain, address, count, done);
    return apply_to_other(owner, address, count, done);
}

}  // namespace hv
