// A machine of several CPUs in virtual time, for tests of hv/sched: one host thread plays all CPUs
// in turn, and time passes only when run_until() says so. A CPU's timer interrupt comes at the
// moment it was programmed for; a kicked CPU does its softirqs before time goes on.
//
// It defines the functions of the rooms around the scheduler, so include it in one source file of
// a test only.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "arch/cpu.hpp"
#include "arch/guest_memory.hpp"
#include "arch/time.hpp"
#include "arch/topology.hpp"
#include "base/lock.hpp"
#include "boot/options.hpp"
#include "fake/no_trace.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/event/event.hpp"
#include "hv/memory/heap.hpp"
#include "hv/sched/rcu.hpp"
#include "hv/sched/sched.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/sched/timer.hpp"

namespace hv {

struct SchedMachine {
    struct Cpu {
        Vcpu* current = nullptr;
        Nanoseconds timer = arch::kNever;
        unsigned kicks = 0;
        unsigned programmed = 0;  ///< how often the hardware was told
    };
    Cpu cpus[kMaxCpus];
    unsigned cpu_count = 1;
    CpuId this_cpu = 0;
    Nanoseconds now = 0;
    size_t heap_objects = 0;
    bool fail_allocation = false;
    bool spinning = false;

    unsigned switches = 0;
    std::vector<std::pair<const Vcpu*, uint32_t>> virqs;
    std::vector<std::string> log_lines;
    std::map<uint16_t, Domain*> domains;
    /// What event::has_pending() says of a vCPU; and ports that are pending.
    const Vcpu* pending_for = nullptr;
    uint32_t pending_port = 0;
    /// Called after prev has left its CPU in memory, before anybody is told: for races.
    std::function<void(Vcpu& prev)> while_switching;
    boot::Options options;

    /// Runs `fn` as CPU `cpu`.
    template <class Fn>
    void as(CpuId cpu, Fn fn) {
        const CpuId before = this_cpu;
        this_cpu = cpu;
        fn();
        this_cpu = before;
    }
    /// Lets every CPU do what it was asked for, until nobody is asked any more.
    void settle() {
        for (bool again = true; again;) {
            again = false;
            for (CpuId cpu = 0; cpu < cpu_count; ++cpu) {
                as(cpu, [&] {
                    if (!softirq_pending()) return;
                    again = true;
                    process_softirqs();
                });
            }
        }
    }
    void run_until(Nanoseconds end) {
        settle();
        for (;;) {
            CpuId first = 0;
            for (CpuId cpu = 0; cpu < cpu_count; ++cpu)
                if (cpus[cpu].timer < cpus[first].timer) first = cpu;
            if (cpus[first].timer > end) break;
            if (cpus[first].timer > now) now = cpus[first].timer;
            cpus[first].timer = arch::kNever;
            as(first, [] { timer_interrupt(); });
            settle();
        }
        now = end;
    }
    void run_for(Nanoseconds duration) { run_until(now + duration); }
    /// Time passes without any timer: somebody is in a long hypercall.
    void pass(Nanoseconds duration) { now += duration; }
};

inline SchedMachine machine;

/// The test itself runs on a CPU beside those that are simulated, like a control operation of
/// somebody else: it may wait for any vCPU.
inline constexpr CpuId kTestCpu = kMaxCpus - 1;

/// Brings up `cpus` CPUs with the scheduler, as after boot. Once in a process: scheduler, timers
/// and softirqs keep their state in static data; later calls only add CPUs.
inline void boot_machine(unsigned cpus, std::string_view policy = "credit") {
    static unsigned up = 0;
    if (up == 0) {
        timers_init();
        rcu_init();
        sched::init(policy);
    }
    machine.cpu_count = std::max(cpus, up);
    machine.this_cpu = kTestCpu;
    for (; up < cpus; ++up) {
        if (!sched::cpu_up(up).ok()) std::abort();
        machine.cpus[up].current = &sched::idle_vcpu(up);
    }
    machine.cpus[kTestCpu].current = &sched::idle_vcpu(0);
}

// --- the architecture ---

namespace arch {

CpuId this_cpu() {
    return machine.this_cpu;
}
Vcpu& current() {
    return *machine.cpus[machine.this_cpu].current;
}
bool is_idle(const Vcpu& vcpu) {
    return vcpu.domain->id == DomId{DOMID_IDLE};
}
CpuMask online_cpus() {
    return CpuMask::first_n(machine.cpu_count);
}
uint8_t node_of_cpu(CpuId) {
    return 0;
}
void kick_cpu(CpuId cpu) {
    ++machine.cpus[cpu].kicks;
}
void poll_interrupts() {}
Nanoseconds now() {
    return machine.now;
}
void program_timer(Nanoseconds deadline) {
    machine.cpus[machine.this_cpu].timer = deadline;
    ++machine.cpus[machine.this_cpu].programmed;
}
void update_vcpu_time(Vcpu&) {}
void sync_vcpu_state(Vcpu&) {}
void context_switch(Vcpu& prev, Vcpu& next) {
    ++machine.switches;
    machine.cpus[machine.this_cpu].current = &next;
    if (machine.while_switching) machine.while_switching(prev);
    sched::context_saved(prev);
}
Result<> copy_from_guest(void* to, uint64_t from, size_t bytes) {
    if (from < kPageSize) return Errno::kEFAULT;
    memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return {};
}
Result<> copy_to_guest(uint64_t to, const void* from, size_t bytes) {
    if (to < kPageSize) return Errno::kEFAULT;
    memcpy(reinterpret_cast<void*>(to), from, bytes);
    return {};
}

}  // namespace arch

// --- other rooms ---

namespace event {
void send_virq(Vcpu& vcpu, uint32_t virq) {
    machine.virqs.emplace_back(&vcpu, virq);
    if (vcpu.pause_flags.load() & pause::kBlocked) sched::wake(vcpu);
}
bool has_pending(const Vcpu& vcpu) {
    return machine.pending_for == &vcpu;
}
bool port_valid(Domain&, Port port) {
    return port.raw() < 64;
}
bool port_pending(Domain&, Port port) {
    return port.raw() == machine.pending_port;
}
void begin_poll(Vcpu& vcpu, uint32_t port) {
    vcpu.poll_port.store(port);
}
void clear_poll(Vcpu& vcpu) {
    vcpu.poll_port.store(0);
}
}  // namespace event

namespace heap {
void* allocate(size_t bytes) {
    if (machine.fail_allocation) return nullptr;
    void* object = aligned_alloc(64, round_up(bytes, 64));
    memset(object, 0, bytes);
    ++machine.heap_objects;
    return object;
}
void release(void* object) {
    if (!object) return;
    --machine.heap_objects;
    free(object);
}
}  // namespace heap

namespace boot {
const Options& options() {
    return machine.options;
}
}  // namespace boot

bool log_enabled(LogLevel, bool) {
    return true;
}
void log_args(LogLevel, bool, std::string_view format, const FormatArg* args, size_t count) {
    std::string line;
    format_args([](void* to, std::string_view piece) { *static_cast<std::string*>(to) += piece; },
                &line, format, args, count);
    machine.log_lines.push_back(line);
}
void panic_args(std::string_view format, const FormatArg* args, size_t count) {
    log_args(LogLevel::kError, false, format, args, count);
    fprintf(stderr, "panic: %s\n", machine.log_lines.back().c_str());
    std::abort();
}

bool Vcpu::runnable() const {
    return pause_flags.load() == 0 && pause_count.load() == 0 && domain->pause_count.load() == 0;
}
bool Domain::get() {
    return true;
}
void Domain::put() {}
DomainRef Domain::next_from(DomId from) {
    const auto found = machine.domains.lower_bound(from.raw());
    return found == machine.domains.end() ? DomainRef{} : DomainRef::adopt(found->second);
}
void Domain::shutdown(uint8_t reason) {
    is_shutting_down = true;
    shutdown_code = reason;
}

/// A domain and its vCPUs, down but otherwise ready; it can be found.
struct TestDomain {
    explicit TestDomain(uint16_t id, unsigned vcpu_count, uint32_t pool = 0) {
        domain.id = DomId{id};
        domain.config.cpupool_id = pool;
        domain.vcpus = std::move(heap::OwnedArray<Vcpu*>::create(vcpu_count)).value();
        domain.max_vcpus = vcpu_count;
        if (!sched::init_domain(domain).ok()) std::abort();
        for (unsigned n = 0; n < vcpu_count; ++n) {
            vcpus.push_back(std::make_unique<Vcpu>(domain, VcpuId{n}));
            domain.vcpus[n] = vcpus[n].get();
            if (!sched::add_vcpu(*vcpus[n]).ok()) std::abort();
        }
        machine.domains[id] = &domain;
    }
    ~TestDomain() {
        machine.domains.erase(domain.id.raw());
        sched::domain_pause(domain);
        for (auto& vcpu : vcpus) sched::remove_vcpu(*vcpu);
        sched::destroy_domain(domain);
    }
    TestDomain(const TestDomain&) = delete;
    TestDomain& operator=(const TestDomain&) = delete;
    Vcpu& operator[](size_t n) { return *vcpus[n]; }
    void start() {
        for (auto& vcpu : vcpus) {
            vcpu->pause_flags.fetch_and(~pause::kDown);
            sched::wake(*vcpu);
        }
    }
    Nanoseconds ran(size_t n) {
        return static_cast<Nanoseconds>(sched::runstate_of(*vcpus[n]).time[RUNSTATE_running]);
    }

    Domain domain;
    std::vector<std::unique_ptr<Vcpu>> vcpus;
};

}  // namespace hv

namespace base {

/// Waiting for another CPU: it gets to do its softirqs.
void spin_wait() {
    using hv::machine;
    if (machine.spinning) {
        fprintf(stderr, "two CPUs wait for each other\n");
        std::abort();
    }
    machine.spinning = true;
    const CpuId self = machine.this_cpu;
    for (CpuId cpu = 0; cpu < machine.cpu_count; ++cpu) {
        if (cpu == self) continue;
        machine.as(cpu, [] {
            if (hv::softirq_pending()) hv::process_softirqs();
        });
    }
    machine.spinning = false;
}
void note_lock_taken(uint8_t) {}
void note_lock_dropped(uint8_t) {}

}  // namespace base
