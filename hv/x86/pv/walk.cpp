#include "hv/x86/pv/walk.hpp"

#include <algorithm>

#include "arch/guest_debug.hpp"
#include "hv/domain/domain.hpp"
#include "hv/memory/page.hpp"
#include "hv/x86/paging/entry.hpp"

namespace hv::pv {

Walk walk(const Domain& domain, Mfn l4, uint64_t linear) {
    Walk found;
    Mfn table = l4;
    for (unsigned level = 4; level >= 1; --level) {
        const PageInfo* page = page_info(table);
        if (!page || !page->owned_by(domain.id)) return found;
        const paging::Entry entry =
            arch::mfn_to_virt<paging::Entry>(table)[paging::index_of(linear, level)];
        found.entries[found.depth++] = entry.raw();
        if (!entry.present() || (level > 1 && entry.large())) return found;
        table = entry.mfn();
    }
    found.complete = true;
    found.frame = table;
    return found;
}

}  // namespace hv::pv

namespace hv::arch {

namespace {

/// The frame behind an address as vCPU 0's kernel sees it.
Result<Mfn> frame_at(Domain& domain, uint64_t linear) {
    const Vcpu* vcpu = domain.vcpu(0);
    if (!vcpu || !paging::is_guest_address(linear)) return Errno::kEFAULT;
    AloneGuard guard(domain.arch.paging_lock);
    if (vcpu->arch.pv.kernel_table == kInvalidMfn) return Errno::kEFAULT;
    const pv::Walk found = pv::walk(domain, vcpu->arch.pv.kernel_table, linear);
    if (!found.complete) return Errno::kEFAULT;
    return found.frame;
}

}  // namespace

Result<> peek_guest(Domain& domain, uint64_t linear, std::span<uint8_t> into) {
    const Mfn frame = TRY(frame_at(domain, linear));
    const auto page = PageRef::take(frame, domain.id);
    if (!page) return Errno::kEFAULT;
    const uint8_t* from = mfn_to_virt<uint8_t>(frame) + (linear & ~kPageMask);
    std::copy_n(from, into.size(), into.data());
    return {};
}

Result<> poke_guest(Domain& domain, uint64_t linear, std::span<const uint8_t> from) {
    const Mfn frame = TRY(frame_at(domain, linear));
    const auto page = WritablePageRef::take(frame, domain.id);
    if (!page) return Errno::kEFAULT;
    std::copy_n(from.data(), from.size(), mfn_to_virt<uint8_t>(frame) + (linear & ~kPageMask));
    return {};
}

}  // namespace hv::arch
