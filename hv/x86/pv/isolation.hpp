// Page-table isolation of PV guests (`xpti=`): while such a guest runs, its CPU has an L4 table of
// its own, which shows the guest's half and of the hypervisor only what entry needs. See entry.S.
//
// A CPU keeps some of these copies, since a guest goes to and fro between few tables (kernel and
// user mode, two processes). Whether one still is what the guest's table says shows in the stamp: a
// number that no other L4 has, nor the same one before it was changed last.
#pragma once

#include <atomic>

#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/paging/entry.hpp"
#include "hv/x86/paging/layout.hpp"

namespace hv::pv::isolation {

/// Whether the hardware domain, or any other, is to be isolated: the option, else what the
/// processor needs.
bool wanted(bool hardware_domain);

/// Whether any domain may be.
bool possible();

/// For each CPU as it comes up: its isolated L4s. kENOMEM.
Result<> prepare_cpu(CpuId cpu);

/// A guest's L4 has other contents than before, or has just become one: after the entries are
/// written, and before anybody may load it. (The guest may read the number in its table.)
inline void stamp(paging::Entry* l4) {
    static constinit std::atomic<uint64_t> last{0};
    constexpr uint64_t kStep = 2 * paging::Entry::kPresent;  // the entry is never present
    const uint64_t mine = last.fetch_add(kStep, std::memory_order_relaxed) + kStep;
    std::atomic_ref(reinterpret_cast<uint64_t&>(l4[paging::kSlotStamp]))
        .store(mine, std::memory_order_release);
}

/// The current vCPU's tables were loaded or an L4 of its domain changed: what the CPU enters the
/// guest with is brought up to date.
void tables_changed(Vcpu& vcpu);

/// The same on every CPU that runs `domain`: an entry of its table `l4` was written.
void l4_changed(Domain& domain, paging::Entry* l4);
/// On the way to a guest: does what l4_changed() asked of this CPU.
void refresh_if_stale();

}  // namespace hv::pv::isolation
