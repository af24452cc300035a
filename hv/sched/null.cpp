// The null policy: a CPU has one vCPU, for as long as that is not taken down; there is nothing to
// choose and no time slice. vCPUs beyond the number of CPUs wait, parked, until a CPU is given up.
//
// CPUs are claimed in State::taken, one bit in one atomic step, so that two vCPUs that wake at once
// never agree on one. Nobody is forgotten: who finds none is counted in State::unserved first and
// then looks once more; who gives one up clears its bit first and then looks at the count.
#include <cstdint>

#include <xen/domctl.h>

#include "hv/memory/heap.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace null {
namespace {

constexpr CpuId kNoCpu = kMaxCpus;
constexpr Nanoseconds kNoSlice = 3600 * kSecond;  // a choice comes only when something changes

struct State {
    AtomicCpuMask taken;
    std::atomic<uint32_t> unserved{0};
};

struct NullUnit : Unit {
    NullUnit(Vcpu& v, Pool& p) : Unit(v, p), state(*static_cast<State*>(p.state)) {}
    State& state;
    CpuId owns = kNoCpu;
    bool counted = false;  ///< in State::unserved
};

NullUnit& of(Unit& unit) {
    return static_cast<NullUnit&>(unit);
}

bool claim_one_of(NullUnit& unit, const CpuMask& cpus) {
    for (size_t n = cpus.first(); n != CpuMask::kNone; n = cpus.next(n + 1)) {
        if (unit.state.taken.test_and_set(n)) continue;
        unit.owns = static_cast<CpuId>(n);
        return true;
    }
    return false;
}

/// Where it is already, where it would like to be, or anywhere.
bool claim(NullUnit& unit) {
    const CpuMask here = CpuMask::single(unit.vcpu.cpu.load(std::memory_order_relaxed));
    const CpuMask wished = unit.allowed & unit.vcpu.soft_affinity;
    return claim_one_of(unit, here & wished) || claim_one_of(unit, wished) ||
           claim_one_of(unit, here & unit.allowed) || claim_one_of(unit, unit.allowed);
}

void count(NullUnit& unit, bool unserved) {
    if (unit.counted == unserved) return;
    unit.counted = unserved;
    unit.state.unserved.fetch_add(unserved ? 1 : -1);
}

void give_up(NullUnit& unit) {
    count(unit, false);
    if (unit.owns == kNoCpu) return;
    const CpuId cpu = unit.owns;
    unit.owns = kNoCpu;
    unit.state.taken.clear(cpu);
    if (unit.state.unserved.load()) raise_softirq_on(cpu, Softirq::kSchedule);
}

/// A vCPU that is taken down, or whose domain ends, needs its CPU no more; one that blocks or is
/// paused does.
void give_up_if_down(NullUnit& unit) {
    if (unit.vcpu.pause_flags.load() & pause::kDown) give_up(unit);
}

// --- the table's functions ---

Result<void*> create_pool(Nanoseconds) {
    auto* state = heap::create<State>();
    if (!state) return Errno::kENOMEM;
    return static_cast<void*>(state);
}
void destroy_pool(void* state) {
    heap::destroy(static_cast<State*>(state));
}

Result<void*> create_domain(Pool&) {
    return static_cast<void*>(nullptr);  // there is nothing to set
}
void destroy_domain(void*) {}

Result<Unit*> create_unit(Vcpu& vcpu, Pool& pool, void*) {
    auto* unit = heap::create<NullUnit>(vcpu, pool);
    if (!unit) return Errno::kENOMEM;
    return static_cast<Unit*>(unit);
}
void destroy_unit(Unit& unit) {
    give_up(of(unit));
    heap::destroy(&of(unit));
}

CpuId assign(Unit& u) {
    NullUnit& unit = of(u);
    if (unit.owns != kNoCpu && !unit.allowed.test(unit.owns)) give_up(unit);
    if (unit.owns == kNoCpu && !claim(unit)) {
        count(unit, true);
        claim(unit);
    }
    if (unit.owns != kNoCpu) {
        count(unit, false);
        return unit.owns;
    }
    const CpuId here = unit.vcpu.cpu.load(std::memory_order_relaxed);
    return unit.allowed.test(here) ? here : pick_cpu(unit);
}

Wake wake(RunQueue& queue, Unit& u, Unit*, Nanoseconds) {
    NullUnit& unit = of(u);
    unit.parked = unit.owns != queue.cpu;
    queue.push(unit);
    return unit.parked ? Wake::kWaits : Wake::kHere;
}

void sleep(RunQueue& queue, Unit& u) {
    NullUnit& unit = of(u);
    if (unit.linked()) queue.take(unit);
    unit.parked = false;
    count(unit, false);
    give_up_if_down(unit);
}

void yield(Unit&) {}

/// The one that this CPU belongs to, if it waits here, or one that can have it now.
NullUnit* own(RunQueue& queue) {
    for (Unit& u : queue.waiting)
        if (of(u).owns == queue.cpu) return &of(u);
    for (Unit& u : queue.waiting) {
        NullUnit& unit = of(u);
        if (unit.owns != kNoCpu || !unit.allowed.test(queue.cpu)) continue;
        if (!claim_one_of(unit, CpuMask::single(queue.cpu))) return nullptr;
        count(unit, false);
        return &unit;
    }
    return nullptr;
}

Choice choose(RunQueue& queue, Unit* prev, bool may_stay, Nanoseconds, bool may_look) {
    NullUnit* running = prev ? &of(*prev) : nullptr;
    const bool goes_on = may_stay && running->owns == queue.cpu;
    NullUnit* next = goes_on ? running : own(queue);
    const auto& state = *static_cast<State*>(queue.pool->state);
    if (!next && may_look && state.unserved.load() && !state.taken.test(queue.cpu))
        return {.look_elsewhere = true};

    if (next && next != running) {
        queue.take(*next);
        next->parked = false;
    }
    if (running && next != running) {
        running->parked = may_stay;  // its affinity has cost it its CPU, and there is no other one
        if (may_stay) queue.push(*running);
        give_up_if_down(*running);
    }
    return {.next = next, .slice = next ? kNoSlice : 0};
}

Unit* surrender(RunQueue& queue, CpuId thief, int64_t, bool wished) {
    for (Unit& u : queue.waiting) {
        NullUnit& unit = of(u);
        const Vcpu& vcpu = unit.vcpu;
        if (unit.owns != kNoCpu || vcpu.is_running.load() || !unit.allowed.test(thief)) continue;
        if (wished && !vcpu.soft_affinity.test(thief)) continue;
        if (!claim_one_of(unit, CpuMask::single(thief))) return nullptr;
        count(unit, false);
        queue.take(unit);
        return &unit;
    }
    return nullptr;
}

int64_t rank(const Unit& unit) {
    const CpuId owns = static_cast<const NullUnit&>(unit).owns;
    return owns == kNoCpu ? -1 : static_cast<int64_t>(owns);
}

constexpr Policy kTable = {
    .name = "null",
    .id = XEN_SCHEDULER_NULL,
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
    .assign = assign,
    .domain_control = nullptr,
    .system_control = nullptr,
    .measure = "its CPU",
    .rank = rank,
};

}  // namespace
}  // namespace null

constinit const Policy kNullPolicy = null::kTable;

}  // namespace hv::sched
