#include <cstdint>

#include <xen/physdev.h>

#include "hv/domain/domain.hpp"
#include "hv/policy/policy.hpp"
#include "hv/x86/irq/physdev.hpp"
#include "hv/x86/irq/pirq.hpp"

namespace hv::irq::physdev {
namespace {

constexpr int kMaxMessages = 32;  // what an MSI capability can ask for

/// A segment lies in the upper half of `bus` for the types that know segments.
Bdf function_of(const physdev_map_pirq& map) {
    const bool has_segment =
        map.type == MAP_PIRQ_TYPE_MSI_SEG || map.type == MAP_PIRQ_TYPE_MULTI_MSI;
    const auto bus = static_cast<uint32_t>(map.bus);
    return make_bdf(has_segment ? bus >> 16 : 0, bus, static_cast<uint32_t>(map.devfn));
}

Result<Pirq> map_one_message(Domain& domain, const physdev_map_pirq& map) {
    const Msi msi =
        TRY(find_msi(function_of(map), static_cast<uint16_t>(map.entry_nr), map.table_base));
    return map_message(domain, msi, map.pirq);
}

Result<Pirq> map(Domain& domain, const physdev_map_pirq& map) {
    switch (map.type) {
        case MAP_PIRQ_TYPE_GSI:
            if (map.index < 0) return Errno::kEINVAL;
            return map_pin(domain, static_cast<uint32_t>(map.index), map.pirq);
        case MAP_PIRQ_TYPE_MSI:
        case MAP_PIRQ_TYPE_MSI_SEG:
            if (map.index != kAnyPirq) return Errno::kEINVAL;  // messages are lines made here
            if (map.table_base && (map.entry_nr < 0 || map.entry_nr > 0x7ff)) return Errno::kEINVAL;
            return map_one_message(domain, map);
        case MAP_PIRQ_TYPE_MULTI_MSI:
            if (map.table_base) return Errno::kEINVAL;
            if (map.entry_nr <= 0 || map.entry_nr > kMaxMessages) return Errno::kEDOM;
            // Several messages differ in their low bits and go to one CPU: of use only with
            // interrupt remapping.
            if (map.entry_nr != 1) return Errno::kEOPNOTSUPP;
            return map_one_message(domain, map);
        default:
            return Errno::kEINVAL;
    }
}

Outcome register_eoi_map(Domain& caller, GuestAddress argument, bool eoi_unmasks) {
    const auto op = TRY(GuestIn<physdev_pirq_eoi_gmfn>(argument.raw()).load());
    return publish_eoi_map(caller, Mfn{op.gmfn}, eoi_unmasks);
}

}  // namespace

Outcome map_pirq(Domain& caller, GuestAddress argument) {
    const GuestInOut<physdev_map_pirq> guest(argument.raw());
    auto op = TRY(guest.load());
    DomainRef domain = TRY(Domain::find_or_self(DomId{op.domid}));
    TRY(policy::check(policy::Op::kPhysdev, caller, domain.get()));
    const Result<Pirq> pirq = map(*domain, op);
    if (pirq) op.pirq = static_cast<int>(pirq->raw());
    // A caller that cannot be told cannot use it either, but may unmap it: the number is known.
    TRY(guest.store(op));
    if (!pirq) return pirq.error();
    return Outcome(0);
}

Outcome unmap_pirq(Domain& caller, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_unmap_pirq>(argument.raw()).load());
    DomainRef domain = TRY(Domain::find_or_self(DomId{op.domid}));
    TRY(policy::check(policy::Op::kPhysdev, caller, domain.get()));
    return irq::unmap_pirq(*domain, Pirq{static_cast<uint32_t>(op.pirq)});
}

Outcome get_free_pirq(Domain& caller, GuestAddress argument) {
    const GuestInOut<::physdev_get_free_pirq> guest(argument.raw());
    auto op = TRY(guest.load());
    op.pirq = TRY(reserve_pirq(caller, op.type == MAP_PIRQ_TYPE_GSI)).raw();
    return guest.store(op);
}

Outcome eoi(Domain& caller, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_eoi>(argument.raw()).load());
    return pirq_eoi(caller, Pirq{op.irq});
}

/// "Needs EOI" for every line, as Xen says to guests that do not use the map of pirq_eoi_gmfn.
Outcome irq_status_query(Domain& caller, GuestAddress argument) {
    const GuestInOut<physdev_irq_status_query> guest(argument.raw());
    auto op = TRY(guest.load());
    if (op.irq >= pirq_count(caller)) return Errno::kEINVAL;
    op.flags = XENIRQSTAT_needs_eoi;
    return guest.store(op);
}

Outcome pirq_eoi_gmfn_v1(Domain& caller, GuestAddress argument) {
    return register_eoi_map(caller, argument, true);
}
Outcome pirq_eoi_gmfn_v2(Domain& caller, GuestAddress argument) {
    return register_eoi_map(caller, argument, false);
}

}  // namespace hv::irq::physdev
