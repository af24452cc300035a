// The credit policy: proportional shares with work stealing. The arithmetic is in credit.hpp.
//
// Interactive vCPUs: who sleeps keeps earning, up to a slice's worth, so on waking it has more
// credit than one that ran all the time and goes first at once ("boosted").
#include "hv/sched/credit.hpp"

#include <cstdint>

#include <xen/domctl.h>
#include <xen/sysctl.h>

#include "hv/memory/heap.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace credit {
namespace {

/// Of a domain. Written by control operations, read by each CPU without a lock.
struct Settings {
    std::atomic<uint16_t> weight{kDefaultWeight};
    std::atomic<uint16_t> cap{0};  ///< percent of one CPU; 0: none. Recorded, not enforced yet
};

struct CreditUnit : Unit {
    CreditUnit(Vcpu& v, const Settings& s) : Unit(v), settings(s) {}
    const Settings& settings;
    Account account;
    Nanoseconds charged_to = 0;   ///< while it runs: up to when that is paid for
    Nanoseconds started = 0;      ///< when it was last chosen, or given a new slice
    uint32_t counted_weight = 0;  ///< its part of total_weight; 0: it does not want to run
    bool boosted = false;         ///< goes before whoever runs, even within its slice
    bool yielded = false;
};

struct Tunables {
    std::atomic<Nanoseconds> slice{30 * kMillisecond};
    std::atomic<Nanoseconds> rate_limit{kMillisecond};  ///< nobody is preempted before
    std::atomic<uint32_t> migration_delay_us{0};        ///< recorded only
};

constexpr Nanoseconds kMargin = kMillisecond / 2;  // differences below are not worth a switch

constinit Tunables tunables;
constinit std::atomic<uint64_t> total_weight{0};  // of all who want to run
constinit std::atomic<uint64_t> share_clock{0};

CreditUnit& of(Unit& unit) {
    return static_cast<CreditUnit&>(unit);
}

/// How far credit may be from 0, in both directions.
Nanoseconds bound() {
    return 4 * tunables.slice.load(std::memory_order_relaxed);
}

/// Gives `time` to all who want to run.
void distribute(Nanoseconds time) {
    const uint64_t weights = total_weight.load(std::memory_order_relaxed);
    if (weights && time > 0) share_clock.fetch_add(share_of(time, weights));
}

void earn(CreditUnit& unit, Nanoseconds now) {
    const Nanoseconds left =
        unit.account.earn(share_clock.load(std::memory_order_relaxed),
                          unit.settings.weight.load(std::memory_order_relaxed), now, bound());
    // Of one who sleeps it has never been taken from anybody.
    if (unit.counted_weight) distribute(left);
}

void activate(CreditUnit& unit) {
    unit.counted_weight = unit.settings.weight.load(std::memory_order_relaxed);
    total_weight.fetch_add(unit.counted_weight, std::memory_order_relaxed);
}
void deactivate(CreditUnit& unit) {
    total_weight.fetch_sub(unit.counted_weight, std::memory_order_relaxed);
    unit.counted_weight = 0;
}

/// Settles what `unit` has run until `now`.
void settle(CreditUnit& unit, Nanoseconds now) {
    if (unit.counted_weight != unit.settings.weight.load(std::memory_order_relaxed)) {
        deactivate(unit);  // the weight has been changed since it woke
        activate(unit);
    }
    if (now > unit.charged_to) {
        unit.account.charge(now - unit.charged_to, bound());
        distribute(now - unit.charged_to);
        unit.charged_to = now;
    }
    earn(unit, now);
}

/// Who waits here and should be next; nullptr.
CreditUnit* best_waiting(RunQueue& queue, Nanoseconds now) {
    CreditUnit* best = nullptr;
    for (Unit& u : queue.waiting) {
        CreditUnit& unit = of(u);
        earn(unit, now);
        if (best && (unit.boosted == best->boosted ? unit.account.credit <= best->account.credit
                                                   : best->boosted))
            continue;
        best = &unit;
    }
    return best;
}

/// At the edge of the range, everybody's credit here is moved by the same amount: what they are
/// owed relative to each other stays, when there is more or less time than was distributed
/// (affinities, or a weight worth more than a whole CPU).
void recentre(RunQueue& queue, CreditUnit& chosen) {
    const Nanoseconds credit = chosen.account.credit;
    if (credit > -bound() && credit < bound()) return;
    const auto shift = [&](CreditUnit& unit) {
        unit.account.credit = std::clamp(unit.account.credit - credit, -2 * bound(), bound());
    };
    for (Unit& unit : queue.waiting) shift(of(unit));
    shift(chosen);
}

bool goes_before(const CreditUnit& waiting, const CreditUnit& running, Nanoseconds now) {
    if (running.yielded) return true;
    if (waiting.boosted) return true;
    if (now - running.started < tunables.slice.load(std::memory_order_relaxed)) return false;
    return waiting.account.credit >= running.account.credit;
}

// --- the table's functions ---

void init_policy(Nanoseconds slice) {
    constexpr Nanoseconds kMost = XEN_SYSCTL_CSCHED_TSLICE_MAX * kMillisecond;
    tunables.slice = std::clamp(slice, kMillisecond, kMost);
}

Result<void*> create_domain() {
    auto* settings = heap::create<Settings>();
    if (!settings) return Errno::kENOMEM;
    return static_cast<void*>(settings);
}
void destroy_domain(void* settings) {
    heap::destroy(static_cast<Settings*>(settings));
}

Result<Unit*> create_unit(Vcpu& vcpu, void* settings) {
    auto* unit = heap::create<CreditUnit>(vcpu, *static_cast<Settings*>(settings));
    if (!unit) return Errno::kENOMEM;
    unit->account.share_seen = share_clock.load();
    return static_cast<Unit*>(unit);
}
void destroy_unit(Unit& unit) {
    heap::destroy(&of(unit));
}

bool wake(RunQueue& queue, Unit& u, Unit* running, Nanoseconds now) {
    CreditUnit& unit = of(u);
    earn(unit, now);
    const bool woke = unit.counted_weight == 0;
    if (woke) {
        activate(unit);
        const Nanoseconds slice = tunables.slice.load(std::memory_order_relaxed);
        unit.account.credit = std::min(unit.account.credit, slice);
    }
    queue.push(unit);
    if (!running) return true;
    CreditUnit& rival = of(*running);
    const Nanoseconds rivals = rival.account.credit - (now - rival.charged_to);
    // One that comes from another CPU was asked for because it ranks above what runs here.
    unit.boosted = unit.account.credit > rivals + kMargin;
    return unit.boosted;
}

void sleep(RunQueue& queue, Unit& u) {
    CreditUnit& unit = of(u);
    if (unit.linked()) queue.take(unit);
    unit.boosted = false;
    deactivate(unit);
}

void yield(Unit& unit) {
    of(unit).yielded = true;
}

/// The running vCPU is left alone for the first moments, however much credit others have.
bool rate_limited(const CreditUnit& running, Nanoseconds now) {
    return !running.yielded &&
           now - running.started < tunables.rate_limit.load(std::memory_order_relaxed);
}

Choice choose(RunQueue& queue, Unit* prev, bool may_stay, Nanoseconds now, bool may_look) {
    const Nanoseconds slice = tunables.slice.load(std::memory_order_relaxed);
    CreditUnit* running = prev ? &of(*prev) : nullptr;
    if (running) settle(*running, now);
    if (may_stay && rate_limited(*running, now)) {
        const Nanoseconds rest = running->started + tunables.rate_limit.load() - now;
        return {.next = running, .slice = queue.waiting.empty() ? slice : rest};
    }

    CreditUnit* chosen = best_waiting(queue, now);
    if (may_stay && (!chosen || !goes_before(*chosen, *running, now))) chosen = running;
    if (may_look && (!chosen || now - queue.looked_elsewhere >= slice)) {
        queue.looked_elsewhere = now;
        return {.look_elsewhere = true,
                .above = chosen ? chosen->account.credit + kMargin : INT64_MIN};
    }

    if (running && chosen != running) {
        running->yielded = false;
        if (may_stay)
            queue.push(*running);
        else if (!running->vcpu.runnable())
            deactivate(*running);
    }
    if (!chosen) return {};
    if (chosen != running) {
        queue.take(*chosen);
        chosen->charged_to = now;
    }
    if (chosen != running || now - chosen->started >= slice) chosen->started = now;
    chosen->boosted = chosen->yielded = false;
    recentre(queue, *chosen);
    return {.next = chosen, .slice = chosen->started + slice - now};
}

Unit* surrender(RunQueue& queue, CpuId thief, int64_t above, bool wished) {
    const Nanoseconds now = arch::now();
    CreditUnit* best = nullptr;
    for (Unit& u : queue.waiting) {
        CreditUnit& unit = of(u);
        const Vcpu& vcpu = unit.vcpu;
        if (vcpu.is_running.load() || !vcpu.hard_affinity.test(thief)) continue;
        if (wished && !vcpu.soft_affinity.test(thief)) continue;
        earn(unit, now);
        if (unit.account.credit <= (best ? best->account.credit : above)) continue;
        best = &unit;
    }
    if (best) queue.take(*best);
    return best;
}

Result<> domain_control(Domain&, void* data, xen_domctl_scheduler_op& op) {
    auto& settings = *static_cast<Settings*>(data);
    auto& wanted = op.u.credit;
    switch (op.cmd) {
        case XEN_DOMCTL_SCHEDOP_getinfo:
            wanted.weight = settings.weight;
            wanted.cap = settings.cap;
            return {};
        case XEN_DOMCTL_SCHEDOP_putinfo:
            // A weight of 0 and a cap of 0xffff mean "as it is".
            if (wanted.weight) settings.weight = wanted.weight;
            if (wanted.cap != uint16_t{0xffff}) settings.cap = wanted.cap;
            return {};
        default:
            return Errno::kEINVAL;
    }
}

Result<> system_control(xen_sysctl_scheduler_op& op) {
    auto& params = op.u.sched_credit;
    if (op.cmd == XEN_SYSCTL_SCHEDOP_putinfo) {
        if (params.tslice_ms > XEN_SYSCTL_CSCHED_TSLICE_MAX ||
            params.tslice_ms < XEN_SYSCTL_CSCHED_TSLICE_MIN ||
            (params.ratelimit_us && (params.ratelimit_us > XEN_SYSCTL_SCHED_RATELIMIT_MAX ||
                                     params.ratelimit_us < XEN_SYSCTL_SCHED_RATELIMIT_MIN)) ||
            params.ratelimit_us > 1000 * params.tslice_ms ||
            params.vcpu_migr_delay_us > XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US)
            return Errno::kEINVAL;
        tunables.slice = params.tslice_ms * kMillisecond;
        tunables.rate_limit = params.ratelimit_us * kMicrosecond;
        tunables.migration_delay_us = params.vcpu_migr_delay_us;
    } else if (op.cmd != XEN_SYSCTL_SCHEDOP_getinfo) {
        return Errno::kEINVAL;
    }
    params.tslice_ms = static_cast<uint32_t>(tunables.slice.load() / kMillisecond);
    params.ratelimit_us = static_cast<uint32_t>(tunables.rate_limit.load() / kMicrosecond);
    params.vcpu_migr_delay_us = tunables.migration_delay_us;
    return {};
}

constexpr Policy kTable = {
    .name = "credit",
    .id = XEN_SCHEDULER_CREDIT,
    .init = init_policy,
    .create_domain = create_domain,
    .destroy_domain = destroy_domain,
    .create_unit = create_unit,
    .destroy_unit = destroy_unit,
    .wake = wake,
    .sleep = sleep,
    .yield = yield,
    .choose = choose,
    .surrender = surrender,
    .domain_control = domain_control,
    .system_control = system_control,
};

}  // namespace
}  // namespace credit

constinit const Policy kCreditPolicy = credit::kTable;

}  // namespace hv::sched
