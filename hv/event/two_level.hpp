// The two-level ABI: a pending and a mask bit for each port in the shared info, and for each vCPU
// a selector that says which words of the pending array to look at (<xen/xen.h>, shared_info).
//
// The guest consumes from the outside in: it clears evtchn_upcall_pending, takes the selector,
// takes pending words. Producers set from the inside out, each step a locked instruction, so an
// event is visible before the word that leads to it.
#pragma once

#include <atomic>

#include "hv/event/channels.hpp"

namespace hv::event::two_level {

/// A word of memory that the guest changes at the same time.
using Word = std::atomic_ref<uint64_t>;

inline Word pending_word(Domain& domain, uint32_t port) {
    return Word(reinterpret_cast<uint64_t&>(domain.shared->evtchn_pending[port / 64]));
}
inline Word mask_word(Domain& domain, uint32_t port) {
    return Word(reinterpret_cast<uint64_t&>(domain.shared->evtchn_mask[port / 64]));
}
constexpr uint64_t bit_of(uint32_t port) {
    return uint64_t{1} << (port % 64);
}

/// Marks the word of `port` for `vcpu`; true if that is news, so that an upcall is due.
inline bool select(Vcpu& vcpu, uint32_t port) {
    // A vCPU above XEN_LEGACY_MAX_VCPUS that has not registered a vcpu_info yet hears nothing;
    // registering one marks every word (mark_all_pending).
    vcpu_info* info = vcpu.info.load(std::memory_order_acquire);
    if (!info) return false;
    Word selector(reinterpret_cast<uint64_t&>(info->evtchn_pending_sel));
    return !(selector.fetch_or(bit_of(port / 64)) & bit_of(port / 64));
}

/// Makes `port` pending.
inline Effect set_pending(Domain& domain, Vcpu& vcpu, uint32_t port) {
    if (pending_word(domain, port).fetch_or(bit_of(port)) & bit_of(port)) return 0;
    if (mask_word(domain, port).load() & bit_of(port)) return kNews;
    return select(vcpu, port) ? kNews | kUpcall : kNews;
}

/// Clears the mask; true if an event was pending under it and `vcpu` is owed an upcall.
/// The order matters: whoever sets pending after our look finds the mask clear.
inline bool unmask(Domain& domain, Vcpu& vcpu, uint32_t port) {
    return (mask_word(domain, port).fetch_and(~bit_of(port)) & bit_of(port)) &&
           (pending_word(domain, port).load() & bit_of(port)) && select(vcpu, port);
}

inline void clear_pending(Domain& domain, uint32_t port) {
    pending_word(domain, port).fetch_and(~bit_of(port));
}
inline bool is_pending(Domain& domain, uint32_t port) {
    return pending_word(domain, port).load() & bit_of(port);
}
inline bool is_masked(Domain& domain, uint32_t port) {
    return mask_word(domain, port).load() & bit_of(port);
}

}  // namespace hv::event::two_level
