// The credit2 policy: virtual time. A vCPU's virtual time is what it ran, divided by its weight; on
// each CPU the one that is furthest behind runs. Nothing is handed out, so there is nothing to be
// settled when weights change or domains come and go.
//
//     queue of CPU 0:   a 103 ── b 107 ── c 112        runs: a, until it is ahead of b
//     queue of CPU 1:   d 104 ── e 105                 compares with CPU 0 once a slice
//
// The pool's clock is the furthest that anybody was when he was chosen. A queue that falls behind
// it, because more vCPUs are bound to its CPU than to others, is moved up as a whole: the order in
// it stays. Who wakes comes in a little behind those who wait, so that he runs soon, but with
// nothing saved up.
#include <cstdint>

#include <xen/domctl.h>

#include "hv/sched/credit2_data.hpp"

namespace hv::sched {
namespace credit2 {
namespace {

constexpr Nanoseconds kNoLimit = INT64_MAX;
constexpr Nanoseconds kSlice = 10 * kMillisecond;
// In virtual time:
constexpr Nanoseconds kHeadStart = virtual_time(kSlice, kDefaultWeight);
constexpr Nanoseconds kMargin = kHeadStart / 20;  // differences below are not worth a switch
constexpr Nanoseconds kBound = 8 * kHeadStart;    // how far a queue may be behind the pool

/// What `unit` has run until `now` counts.
void settle(Credit2Unit& unit, Nanoseconds now) {
    const Nanoseconds ran = now - unit.charged_to;
    if (ran <= 0) return;
    unit.charged_to = now;
    unit.reached += virtual_time(ran, unit.settings.weight.load(std::memory_order_relaxed));
    unit.settings.cap.charge(ran, now);
}

/// Parks or unparks `unit`. True if it may run.
bool may_run(Credit2Unit& unit, Nanoseconds now) {
    unit.parked = unit.settings.cap.exhausted(now);
    return !unit.parked;
}

void set_active(Credit2Unit& unit, bool active) {
    if (unit.active == active) return;
    unit.active = active;
    unit.settings.active.fetch_add(active ? 1 : -1, std::memory_order_relaxed);
}

struct Waiting {
    Credit2Unit* best = nullptr;     ///< furthest behind; nullptr: nobody may run
    Nanoseconds resumes = kNoLimit;  ///< when the first one that is parked may run again
};

Waiting look_at_waiting(RunQueue& queue, Nanoseconds now) {
    Waiting result;
    for (Unit& u : queue.waiting) {
        Credit2Unit& unit = of(u);
        if (!may_run(unit, now))
            result.resumes = std::min(result.resumes, unit.settings.cap.resumes());
        else if (!result.best || unit.reached < result.best->reached)
            result.best = &unit;
    }
    return result;
}

/// Notes where `chosen` is in time, and moves the queue up if it is too far behind the pool.
void keep_up(RunQueue& queue, Credit2Unit& chosen) {
    State& state = chosen.state;
    Nanoseconds clock = state.clock.load(std::memory_order_relaxed);
    while (clock < chosen.reached &&
           !state.clock.compare_exchange_weak(clock, chosen.reached, std::memory_order_relaxed)) {
    }
    if (const Nanoseconds late = clock - kBound - chosen.reached; late > 0) {
        for (Unit& unit : queue.waiting) of(unit).reached += late;
        chosen.reached += late;
    }
    queue.virtual_now = std::max(queue.virtual_now, chosen.reached);
}

bool goes_before(const Credit2Unit& waiting, const Credit2Unit& running, Nanoseconds now) {
    if (running.yielded || waiting.boosted) return true;
    return now - running.started >= kSlice && waiting.reached <= running.reached;
}

/// The running vCPU is left alone for the first moments, however far behind others are.
bool rate_limited(const Credit2Unit& running, Nanoseconds now) {
    return !running.yielded &&
           now - running.started < running.state.rate_limit.load(std::memory_order_relaxed);
}

/// How long `chosen` may run: its cap ends it sooner, and so does one that is parked here until
/// `resumes`.
Nanoseconds limited(Nanoseconds slice, Credit2Unit& chosen, Nanoseconds now, Nanoseconds resumes) {
    Settings& settings = chosen.settings;
    if (settings.cap.percent())
        slice = std::min(slice, settings.cap.slice(now, settings.active.load()));
    return resumes == kNoLimit ? slice : std::min(slice, std::max(resumes - now, Cap::kLeastSlice));
}

// --- the table's functions ---

Wake wake(RunQueue& queue, Unit& u, Unit* running, Nanoseconds now) {
    Credit2Unit& unit = of(u);
    set_active(unit, true);
    // Alone on its CPU it is measured by the pool, else by those it competes with.
    const bool alone = !running && queue.waiting.empty();
    const Nanoseconds here =
        alone ? unit.state.clock.load(std::memory_order_relaxed) : queue.virtual_now;
    unit.reached = std::clamp(unit.reached, here - kHeadStart, here + kBound);
    if (alone) queue.virtual_now = unit.reached;
    queue.push(unit);
    if (!may_run(unit, now)) return Wake::kHere;  // to note when it may
    if (!running) return Wake::kPreempts;
    Credit2Unit& rival = of(*running);
    const Nanoseconds rivals =
        rival.reached + virtual_time(now - rival.charged_to, rival.settings.weight.load());
    unit.boosted = unit.reached + kMargin < rivals;
    return unit.boosted ? Wake::kPreempts : Wake::kWaits;
}

void sleep(RunQueue& queue, Unit& u) {
    Credit2Unit& unit = of(u);
    if (unit.linked()) queue.take(unit);
    unit.boosted = unit.parked = false;
    set_active(unit, false);
}

void yield(Unit& unit) {
    of(unit).yielded = true;
}

/// `running` has been left for `chosen` or for nobody.
void put_back(RunQueue& queue, Credit2Unit& running, bool may_stay) {
    running.yielded = false;
    if (may_stay)
        queue.push(running);
    else if (!running.vcpu.runnable())
        set_active(running, false);
}

Choice choose(RunQueue& queue, Unit* prev, bool may_stay, Nanoseconds now, bool may_look) {
    Credit2Unit* running = prev ? &of(*prev) : nullptr;
    if (running) settle(*running, now);
    const bool may_go_on = may_stay && may_run(*running, now);
    if (may_go_on && rate_limited(*running, now)) {
        const Nanoseconds rest = running->started + running->state.rate_limit.load() - now;
        return {.next = running,
                .slice = limited(queue.waiting.empty() ? kSlice : rest, *running, now, kNoLimit)};
    }

    const Waiting waiting = look_at_waiting(queue, now);
    Credit2Unit* chosen = waiting.best;
    if (may_go_on && (!chosen || !goes_before(*chosen, *running, now))) chosen = running;
    if (may_look && (!chosen || now - queue.looked_elsewhere >= kSlice)) {
        queue.looked_elsewhere = now;
        return {.look_elsewhere = true, .above = chosen ? kMargin - chosen->reached : INT64_MIN};
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
    if (chosen != running || now - chosen->started >= kSlice) chosen->started = now;
    chosen->boosted = chosen->yielded = false;
    keep_up(queue, *chosen);
    return {.next = chosen,
            .slice = limited(chosen->started + kSlice - now, *chosen, now, resumes)};
}

Unit* surrender(RunQueue& queue, CpuId thief, int64_t above, bool wished) {
    const Nanoseconds now = arch::now();
    Credit2Unit* best = nullptr;
    for (Unit& u : queue.waiting) {
        Credit2Unit& unit = of(u);
        const Vcpu& vcpu = unit.vcpu;
        if (vcpu.is_running.load() || !unit.allowed.test(thief)) continue;
        if (wished && !vcpu.soft_affinity.test(thief)) continue;
        if (-unit.reached <= (best ? -best->reached : above)) continue;
        if (may_run(unit, now)) best = &unit;
    }
    if (best) queue.take(*best);
    return best;
}

int64_t rank(const Unit& unit) {
    return static_cast<const Credit2Unit&>(unit).reached;
}

constexpr Policy kTable = {
    .name = "credit2",
    .id = XEN_SCHEDULER_CREDIT2,
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
    .measure = "virtual time",
    .rank = rank,
};

}  // namespace
}  // namespace credit2

constinit const Policy kCredit2Policy = credit2::kTable;

}  // namespace hv::sched
