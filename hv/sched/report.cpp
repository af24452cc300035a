// The run queues, for debug key `r`.
#include "hv/console/log.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace {

/// As much of a queue as is worth a page on the screen, taken down under its lock: printing it
/// would hold up the CPU.
struct Snapshot {
    static constexpr size_t kMost = 16;
    struct Line {
        const char* what;
        DomId domain;
        VcpuId vcpu;
        int64_t rank;
        uint64_t allowed;
        uint64_t wished;
    };
    Pool* pool = nullptr;
    Line lines[kMost];
    size_t count = 0;
    size_t left_out = 0;

    void add(const char* what, const Unit& unit) {
        if (count == kMost) {
            ++left_out;
            return;
        }
        const Vcpu& vcpu = unit.vcpu;
        lines[count++] = {what,
                          vcpu.domain->id,
                          vcpu.id,
                          unit.pool.policy->rank(unit),
                          unit.allowed.word(0),
                          vcpu.soft_affinity.word(0)};
    }
};

void take_down(CpuId cpu, Snapshot& into) {
    QueueLock queue(queue_of(cpu));
    into.pool = queue->pool;
    if (queue->current != queue->idle) into.add("runs", *unit_of(*queue->current));
    for (Unit& unit : queue->waiting) into.add(unit.parked ? "parked" : "waits", unit);
}

void print(CpuId cpu, const Snapshot& queue) {
    hv::report(" CPU {}: {}, {} vCPUs belong here", cpu,
               queue.count && queue.lines[0].what[0] == 'r' ? "busy" : "idle",
               queue_of(cpu).assigned.load());
    for (size_t n = 0; n < queue.count; ++n) {
        const Snapshot::Line& line = queue.lines[n];
        hv::report("  d{}v{} {}, {} {}, may run on {:x}, wishes {:x}", line.domain, line.vcpu,
                   line.what, queue.pool->policy->measure, line.rank, line.allowed, line.wished);
    }
    if (queue.left_out) hv::report("  and {} more", queue.left_out);
}

void print_cpus(const Pool* pool) {
    for (CpuId cpu = 0; cpu < kMaxCpus; ++cpu) {
        if (!queue_of(cpu).idle) continue;
        Snapshot queue;
        take_down(cpu, queue);
        if (queue.pool == pool) print(cpu, queue);
    }
}

}  // namespace

void report() {
    for (Pool* pool = find_pool_from(0); pool; pool = find_pool_from(pool->id + 1)) {
        hv::report("pool {}: {}, {} domains, CPUs {:x}", pool->id, pool->policy->name,
                   pool->domains.load(), pool->cpus.snapshot().word(0));
        print_cpus(pool);
    }
    if (free_cpus().empty()) return;
    hv::report("CPUs in no pool:");
    print_cpus(nullptr);
}

}  // namespace hv::sched
