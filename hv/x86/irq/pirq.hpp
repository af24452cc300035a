// A domain's physical interrupts: PIRQ numbers, as its hypercalls and event channels name them,
// and the lines behind them. What event channels need of it is arch/irq.hpp.
//
// Domain 0's PIRQs below gsi count are the lines of pins, by the same number, mostly; messages
// get numbers from the top.
#pragma once

#include <array>
#include <atomic>

#include "base/lock.hpp"
#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/lock_rank.hpp"
#include "hv/x86/irq/irq.hpp"

namespace hv {

struct Domain;

namespace arch {

inline constexpr uint32_t kMaxPirqs = 1024;

/// What a PIRQ number stands for.
struct PirqEntry {
    irq::Irq* line = nullptr;  ///< mapped to it; owned if it is a message
    bool taken = false;        ///< promised by PHYSDEVOP_get_free_pirq, or mapped
    bool bound = false;        ///< an event channel is bound to it
};

struct PirqTable {
    Locked<std::array<PirqEntry, kMaxPirqs>, Rank::kPirq> entries;
    std::atomic<uint64_t>* eoi_map = nullptr;  ///< the guest's page (irq::publish_eoi_map), held
    Mfn eoi_mfn = kInvalidMfn;
    bool auto_unmask = false;  ///< PHYSDEVOP_eoi unmasks the event channel, too
};

}  // namespace arch

namespace irq {

/// For a domain that owns hardware: its table, empty. kENOMEM.
Result<> create_pirqs(Domain& domain);
/// Unmaps all and drops the page of publish_eoi_map(): when the domain dies.
void relinquish_pirqs(Domain& domain);
/// That, and frees the table; also after a failed creation, or none.
void destroy_pirqs(Domain& domain);
/// How many PIRQ numbers the domain has: 0 without a table.
uint32_t pirq_count(const Domain& domain);

inline constexpr int kAnyPirq = -1;

/// Maps line `number` of a pin to `wanted`, or to a PIRQ of the table's choice (kAnyPirq), and
/// returns which. kEINVAL: no such line or PIRQ; kEPERM: the hypervisor's own; kEEXIST: the line
/// has another PIRQ already. A PIRQ that stands for another line keeps it, with success, as Xen
/// has it.
Result<Pirq> map_pin(Domain& domain, uint32_t number, int wanted);
/// The same for a message of a PCI function.
Result<Pirq> map_message(Domain& domain, const Msi& msi, int wanted);
/// kEINVAL: not mapped.
Result<> unmap_pirq(Domain& domain, Pirq pirq);
/// PHYSDEVOP_get_free_pirq: reserves a number. `for_pin` prefers the low ones. kENOSPC.
Result<Pirq> reserve_pirq(Domain& domain, bool for_pin);

/// PHYSDEVOP_eoi. kEINVAL: no such PIRQ.
Result<> pirq_eoi(Domain& domain, Pirq pirq);
/// PHYSDEVOP_pirq_eoi_gmfn_*: from now on the guest's frame says, a bit for each PIRQ, which need
/// PHYSDEVOP_eoi. kEINVAL: no frame it may write; kEBUSY: it has registered one before.
Result<> publish_eoi_map(Domain& domain, Mfn frame, bool eoi_unmasks);
/// Writes the messages of a function anew; kENODEV if it has none.
Result<> restore_messages(Domain& domain, Bdf bdf);
/// Unmaps all messages of a function that goes away.
void forget_messages(Domain& domain, Bdf bdf);

}  // namespace irq
}  // namespace hv
