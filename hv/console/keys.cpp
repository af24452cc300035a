#include "hv/console/keys.hpp"

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/console/log.hpp"
#include "hv/console/ring.hpp"
#include "hv/domain/domain.hpp"
#include "hv/event/event.hpp"
#include "hv/grant/grant.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/sched/sched.hpp"

namespace hv::console {
namespace {

void piece(void*, std::string_view text) {
    write(text);
}

template <class... Args>
void say(std::string_view format, const Args&... args) {
    write("(XEN) ");
    base::format_to(piece, nullptr, format, args...);
    write("\n");
}

void domains() {
    Domain::for_each([](Domain& d) {
        const DomainPages pages = *d.pages.lock();
        say("domain {}: {} vCPUs, {} pages of at most {}, pauses {}, dying {}, shut down {} (code "
            "{})",
            d.id, d.max_vcpus, pages.total, pages.max, d.pause_count.load(),
            static_cast<unsigned>(d.dying.load()), d.is_shut_down ? 1 : 0, d.shutdown_code);
        for (uint32_t n = 0; n < d.max_vcpus; ++n) {
            const Vcpu* v = d.vcpu(n);
            if (!v) continue;
            const vcpu_info* info = v->info.load();  // null until it has one
            say("  v{}: CPU {} {} flags {:x} pauses {} upcall pending {} masked {}", n,
                v->cpu.load(), v->is_running.load() ? "running" : "off", v->pause_flags.load(),
                v->pause_count.load(), info ? info->evtchn_upcall_pending : 0,
                info ? info->evtchn_upcall_mask : 1);
        }
        return true;
    });
}

void memory_report() {
    say("memory: {} pages, {} free, {} claimed", memory::total_pages(), memory::free_pages(),
        memory::outstanding_claims());
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
    say("system time {} ns, TSC {} kHz", arch::now(), arch::tsc_khz());
}

void reboot() {
    arch::machine_restart();
}

void help();

struct Key {
    char key;
    void (*report)();
    const char* text;
};
constexpr Key kKeys[] = {
    {'h', help, "this list"},
    {'q', domains, "domains and their vCPUs"},
    {'r', sched::report, "run queues"},
    {'e', events, "event channels"},
    {'g', grants, "grant tables"},
    {'m', memory_report, "memory"},
    {'s', clock, "clock"},
    {'R', reboot, "restart the machine at once"},
};

void help() {
    for (const Key& k : kKeys) say("key '{}': {}", std::string_view(&k.key, 1), k.text);
}

}  // namespace

void handle_key(char key) {
    for (const Key& k : kKeys)
        if (k.key == key) return k.report();
    say("no key '{}'; 'h' lists them", std::string_view(&key, 1));
}

}  // namespace hv::console
