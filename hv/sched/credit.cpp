// The credit policy: proportional shares with work stealing. The arithmetic is in credit.hpp.
//
// Interactive vCPUs: who sleeps keeps earning, up to a slice's worth, so on waking it has more
// credit than one that ran all the time and goes first at once ("boosted").
//
// A domain with a cap (cap.hpp) that has used its time up is parked: its vCPUs wait, but nobody
// chooses them, until the CPU where they wait looks again when the next period begins.
#include "hv/sched/credit.hpp"

#include <cstdint>

#include <xen/domctl.h>

#include "hv/sched/credit_data.hpp"

namespace hv::sched {
namespace credit {
namespace {

constexpr Nanoseconds kMargin = kMillisecond / 2;  // differences below are not worth a switch
constexpr Nanoseconds kNoLimit = INT64_MAX;

void earn(CreditUnit& unit, Nanoseconds now) {
    State& state = unit.state;
    const Cap& cap = unit.settings.cap;
    // What a cap keeps it from using is the others'; anybody else may save it up.
    const Account::Left left =
        unit.account.earn(state.share_clock.load(std::memory_order_relaxed),
                          unit.settings.weight.load(std::memory_order_relaxed), now, state.bound());
    // Of one who sleeps it has never been taken from anybody.
    if (unit.counted_weight) state.distribute(left.unpaid + (cap.percent() ? left.surplus : 0));
}

void activate(CreditUnit& unit) {
    unit.counted_weight = unit.settings.weight.load(std::memory_order_relaxed);
    unit.state.total_weight.fetch_add(unit.counted_weight, std::memory_order_relaxed);
    unit.settings.active.fetch_add(1, std::memory_order_relaxed);
}
void deactivate(CreditUnit& unit) {
    if (!unit.counted_weight) return;
    unit.state.total_weight.fetch_sub(unit.counted_weight, std::memory_order_relaxed);
    unit.settings.active.fetch_sub(1, std::memory_order_relaxed);
    unit.counted_weight = 0;
}

/// Settles what `unit` has run until `now`.
void settle(CreditUnit& unit, Nanoseconds now) {
    if (unit.counted_weight != unit.settings.weight.load(std::memory_order_relaxed)) {
        deactivate(unit);  // the weight has been changed since it woke
        activate(unit);
    }
    if (const Nanoseconds ran = now - unit.charged_to; ran > 0) {
        unit.account.charge(ran, unit.state.bound());
        unit.settings.cap.charge(ran, now);
        unit.state.distribute(ran);
        unit.charged_to = now;
    }
    earn(unit, now);
}

/// Parks or unparks `unit`. True if it may run.
bool may_run(CreditUnit& unit, Nanoseconds now) {
    unit.parked = unit.settings.cap.exhausted(now);
    return !unit.parked;
}

struct Waiting {
    CreditUnit* best = nullptr;      ///< should be next; nullptr: nobody
    Nanoseconds resumes = kNoLimit;  ///< when the first one that is parked may run again
};

Waiting look_at_waiting(RunQueue& queue, Nanoseconds now) {
    Waiting result;
    for (Unit& u : queue.waiting) {
        CreditUnit& unit = of(u);
        earn(unit, now);
        if (!may_run(unit, now)) {
            result.resumes = std::min(result.resumes, unit.settings.cap.resumes());
            continue;
        }
        const CreditUnit* best = result.best;
        if (best && (unit.boosted == best->boosted ? unit.account.credit <= best->account.credit
                                                   : best->boosted))
            continue;
        result.best = &unit;
    }
    return result;
}

/// At the edge of the range, everybody's credit here is moved by the same amount: what they are
/// owed relative to each other stays, when there is more or less time than was distributed
/// (affinities, or a weight worth more than a whole CPU).
void recentre(RunQueue& queue, CreditUnit& chosen) {
    const Nanoseconds credit = chosen.account.credit;
    const Nanoseconds bound = chosen.state.bound();
    if (credit > -bound && credit < bound) return;
    if (credit > 0 && chosen.settings.cap.percent()) return;  // its cap keeps it there
    const auto shift = [&](CreditUnit& unit) {
        unit.account.credit = std::clamp(unit.account.credit - credit, -2 * bound, bound);
    };
    for (Unit& unit : queue.waiting) shift(of(unit));
    shift(chosen);
}

bool goes_before(const CreditUnit& waiting, const CreditUnit& running, Nanoseconds now) {
    if (running.yielded || waiting.boosted) return true;
    if (now - running.started < running.state.time_slice()) return false;
    return waiting.account.credit >= running.account.credit;
}

/// The running vCPU is left alone for the first moments, however much credit others have.
bool rate_limited(const CreditUnit& running, Nanoseconds now) {
    return !running.yielded &&
           now - running.started < running.state.rate_limit.load(std::memory_order_relaxed);
}

/// How long `chosen` may run: its cap ends it sooner, and so does one that is parked here until
/// `resumes`.
Nanoseconds limited(Nanoseconds slice, CreditUnit& chosen, Nanoseconds now, Nanoseconds resumes) {
    Settings& settings = chosen.settings;
    if (settings.cap.percent())
        slice = std::min(slice, settings.cap.slice(now, settings.active.load()));
    return resumes == kNoLimit ? slice : std::min(slice, std::max(resumes - now, Cap::kLeastSlice));
}

// --- the table's functions ---

Wake wake(RunQueue& queue, Unit& u, Unit* running, Nanoseconds now) {
    CreditUnit& unit = of(u);
    earn(unit, now);
    if (unit.counted_weight == 0) {
        activate(unit);
        unit.account.credit = std::min(unit.account.credit, unit.state.time_slice());
    }
    queue.push(unit);
    if (!may_run(unit, now)) return Wake::kHere;  // to note when it may
    if (!running) return Wake::kPreempts;
    CreditUnit& rival = of(*running);
    const Nanoseconds rivals = rival.account.credit - (now - rival.charged_to);
    // One that comes from another CPU was asked for because it ranks above what runs here.
    unit.boosted = unit.account.credit > rivals + kMargin;
    return unit.boosted ? Wake::kPreempts : Wake::kWaits;
}

void sleep(RunQueue& queue, Unit& u) {
    CreditUnit& unit = of(u);
    if (unit.linked()) queue.take(unit);
    unit.boosted = unit.parked = false;
    deactivate(unit);
}

void yield(Unit& unit) {
    of(unit).yielded = true;
}

/// `running` has been left for `chosen` or for nobody.
void put_back(RunQueue& queue, CreditUnit& running, bool may_stay) {
    running.yielded = false;
    if (may_stay)
        queue.push(running);
    else if (!running.vcpu.runnable())
        deactivate(running);
}

Choice choose(RunQueue& queue, Unit* prev, bool may_stay, Nanoseconds now, bool may_look) {
    const Nanoseconds slice = static_cast<State*>(queue.pool->state)->time_slice();
    CreditUnit* running = prev ? &of(*prev) : nullptr;
    if (running) settle(*running, now);
    const bool may_go_on = may_stay && may_run(*running, now);
    if (may_go_on && rate_limited(*running, now)) {
        const Nanoseconds rest = running->started + running->state.rate_limit.load() - now;
        return {.next = running,
                .slice = limited(queue.waiting.empty() ? slice : rest, *running, now, kNoLimit)};
    }

    const Waiting waiting = look_at_waiting(queue, now);
    CreditUnit* chosen = waiting.best;
    if (may_go_on && (!chosen || !goes_before(*chosen, *running, now))) chosen = running;
    if (may_look && (!chosen || now - queue.looked_elsewhere >= slice)) {
        queue.looked_elsewhere = now;
        return {.look_elsewhere = true,
                .above = chosen ? chosen->account.credit + kMargin : INT64_MIN};
    }

    Nanoseconds resumes = waiting.resumes;
    if (running && chosen != running) {
        put_back(queue, *running, may_stay);
        if (running->parked && may_stay)
            resumes = std::min(resumes, running->settings.cap.resumes());
    }
    if (!chosen)
        return {.slice = resumes == kNoLimit ? 0 : std::max(resumes - now, Cap::kLeastSlice)};
    if (chosen != running) {
        queue.take(*chosen);
        chosen->charged_to = now;
    }
    if (chosen != running || now - chosen->started >= slice) chosen->started = now;
    chosen->boosted = chosen->yielded = false;
    recentre(queue, *chosen);
    return {.next = chosen, .slice = limited(chosen->started + slice - now, *chosen, now, resumes)};
}

Unit* surrender(RunQueue& queue, CpuId thief, int64_t above, bool wished) {
    const Nanoseconds now = arch::now();
    CreditUnit* best = nullptr;
    for (Unit& u : queue.waiting) {
        CreditUnit& unit = of(u);
        const Vcpu& vcpu = unit.vcpu;
        if (vcpu.is_running.load() || !unit.allowed.test(thief)) continue;
        if (wished && !vcpu.soft_affinity.test(thief)) continue;
        earn(unit, now);
        if (unit.account.credit <= (best ? best->account.credit : above)) continue;
        if (may_run(unit, now)) best = &unit;
    }
    if (best) queue.take(*best);
    return best;
}

int64_t rank(const Unit& unit) {
    return static_cast<const CreditUnit&>(unit).account.credit;
}

constexpr Policy kTable = {
    .name = "credit",
    .id = XEN_SCHEDULER_CREDIT,
    .create_pool = create_pool,
    .destroy_pool = destroy_pool,
    .create_domain = create_domain,
    .destroy_domain = destroy_domain,
    .create_unit = create_unit,
    .destroy_unit = destroy_unit,
    .wake = wake,
    .sleep = sleep,
    .yield = yield,
    .choose = choose,
    .surrender = surrender,
    .assign = nullptr,
    .domain_control = domain_control,
    .system_control = system_control,
    .measure = "credit in ns",
    .rank = rank,
};

}  // namespace
}  // namespace credit

constinit const Policy kCreditPolicy = credit::kTable;

}  // namespace hv::sched
