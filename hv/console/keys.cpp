// Debug keys: what the hypervisor can report of itself, one line a thing.
#include "hv/console/keys.hpp"

#include "arch/cpu.hpp"
#include "arch/irq.hpp"
#include "arch/time.hpp"
#include "arch/topology.hpp"
#include "hv/console/log.hpp"
#include "hv/console/ring.hpp"
#include "hv/domain/domain.hpp"
#include "hv/event/event.hpp"
#include "hv/grant/grant.hpp"
#include "hv/hypercall/counters.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/sched/idle.hpp"
#include "hv/sched/sched.hpp"

namespace hv::console {
namespace {

const char* state_name(int state) {
    switch (state) {
        case RUNSTATE_running:
            return "runs";
        case RUNSTATE_runnable:
            return "could run";
        case RUNSTATE_blocked:
            return "blocked";
        default:
            return "offline";
    }
}

void describe_vcpu(Vcpu& v) {
    const vcpu_runstate_info state = sched::runstate_of(v);
    const vcpu_info* info = v.info.load();
    report("  v{}: CPU {} {}, ran {} ms{}{}{}, pauses {}", v.id, v.cpu.load(),
           state_name(state.state), state.time[RUNSTATE_running] / kMillisecond,
           v.pause_flags.load() & pause::kDown ? ", down" : "", v.poll_port.load() ? ", polls" : "",
           v.initialised ? "" : ", without registers", v.pause_count.load());
    if (info)
        report("      upcall pending {} masked {}, selector {:x}", info->evtchn_upcall_pending,
               info->evtchn_upcall_mask, info->evtchn_pending_sel);
}

const char* life(const Domain& d) {
    if (d.dying.load() != Dying::kAlive) return "dying";
    if (d.is_shut_down) return "shut down";
    if (d.controller_pauses.load()) return "paused";
    return "alive";
}

void describe(Domain& d) {
    const DomainPages pages = *d.pages.lock();
    report("d{}{}: {}, {} vCPUs, {} pages of at most {}, {} claimed, pauses {}, references {}",
           d.id, d.privileged ? " (control domain)" : "", life(d), d.max_vcpus, pages.total,
           pages.max, pages.claimed, d.pause_count.load(), d.references.load());
    if (d.is_shut_down) report("  reason of its shutdown: {}", d.shutdown_code);
}

/// Also asks each guest to report of itself: Linux prints its event channels on VIRQ_DEBUG.
void domains() {
    Domain::for_each([](Domain& d) {
        describe(d);
        for (uint32_t n = 0; n < d.max_vcpus; ++n) {
            Vcpu* v = d.vcpu(n);
            if (!v) continue;
            describe_vcpu(*v);
            if (v->info.load() && d.events) event::send_virq(*v, VIRQ_DEBUG);
        }
        return true;
    });
}

void describe_nodes() {
    for (unsigned n = 0; n < memory::nodes::count(); ++n) {
        const auto node = static_cast<Node>(n);
        report("  node {}: {} pages from first to last, {} free", n,
               memory::nodes::spanned_pages(node, memory::max_page()), memory::free_pages_of(node));
    }
}

void describe_virtual_nodes(Domain& d) {
    auto own = d.virtual_nodes.lock();
    for (uint32_t n = 0; *own && n < (*own)->count; ++n)
        report("      its node {} lies on node {}", n, (*own)->nodes[n]);
}

void memory_report() {
    report("memory: {} pages, {} free, {} claimed", memory::total_pages(), memory::free_pages(),
           memory::outstanding_claims());
    if (memory::nodes::count() > 1) describe_nodes();
    Domain::for_each([](Domain& d) {
        const DomainPages pages = *d.pages.lock();
        report("  d{}: {} pages of at most {}, {} claimed, from nodes {:x}", d.id, pages.total,
               pages.max, pages.claimed, (pages.near_nodes & memory::nodes::online()).word(0));
        describe_virtual_nodes(d);
        return true;
    });
}

void cpus() {
    const auto up = arch::now();
    arch::online_cpus().for_each([&](size_t n) {
        const auto cpu = static_cast<CpuId>(n);
        const arch::CpuPlace place = arch::place_of(cpu);
        const sched::Sleeps slept = sched::sleeps_of(cpu);
        report("CPU {}: package {} core {}, slept {} ms of {} in {} times", cpu, place.package,
               place.core, slept.time / kMillisecond, up / kMillisecond, slept.count);
    });
}

void events() {
    Domain::for_each([](Domain& d) {
        event::dump(d);
        return true;
    });
}

void grants() {
    Domain::for_each([](Domain& d) {
        grant::dump(d);
        return true;
    });
}

void clock() {
    report("system time {} ns, TSC {} kHz", arch::now(), arch::tsc_khz());
}

/// Counted in the debug build only.
void hypercall_counts() {
    if (!counters::kOn) return report("counters: only in the debug build");
    for (unsigned n = 0; n < counters::kHypercallNumbers; ++n)
        if (const uint64_t calls = counters::calls(n)) report("hypercall {}: {} times", n, calls);
}

void help();

struct Key {
    char key;
    void (*report)();
    const char* text;
};
constexpr Key kKeys[] = {
    {'h', help, "this list"},
    {'q', domains, "domains and their vCPUs; asks guests to report of themselves"},
    {'r', sched::report, "run queues"},
    {'e', events, "event channels"},
    {'g', grants, "grant tables"},
    {'m', memory_report, "memory, by node and domain"},
    {'i', arch::dump_interrupts, "interrupt lines"},
    {'c', cpus, "CPUs and how they slept"},
    {'s', clock, "clock"},
    {'p', hypercall_counts, "how often each hypercall was made"},
    {'P', counters::reset, "begins to count anew"},
    {'R', arch::machine_restart, "restart the machine at once"},
};

void help() {
    for (const Key& k : kKeys) report("key '{}': {}", std::string_view(&k.key, 1), k.text);
}

}  // namespace

void handle_key(char key) {
    const std::string_view name(&key, 1);
    for (const Key& k : kKeys) {
        if (k.key != key) continue;
        report("key '{}' at {} ms", name, arch::now() / kMillisecond);
        return k.report();
    }
    report("no key '{}'; 'h' lists them", name);
}

}  // namespace hv::console
