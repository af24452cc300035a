// The rooms that a domain has parts of, as fakes that record what they are asked, may fail or ask
// to be called again. On top of memory_machine.hpp; include it in one source file of a test only.
#pragma once

#include <cstdint>

#include <xen/sched.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "boot/options.hpp"
#include "fake/memory_machine.hpp"
#ifndef XENOLITH_REAL_TRACE  // control_test's sysctl starts the real one
#include "fake/no_trace.hpp"
#endif
#include "hv/event/event.hpp"
#include "hv/sched/sched.hpp"

namespace hv {

struct Rooms {
    std::vector<std::string> done;  ///< in order
    std::vector<RcuHead*> waiting;  ///< for a grace period
    std::string fail;               ///< the step that fails
    std::string slow;               ///< the step that says "again" once
    unsigned exceptions = 0;        ///< VIRQ_DOM_EXC
    Vcpu* current = nullptr;

    bool again(const std::string& step) {
        done.push_back(step);
        if (slow != step) return false;
        slow.clear();
        return true;
    }
    Result<> step(const std::string& name) {
        done.push_back(name);
        if (fail == name) return Errno::kENOMEM;
        return {};
    }
    bool has(const std::string& name) const {
        return std::find(done.begin(), done.end(), name) != done.end();
    }
    void grace() {
        auto now = std::exchange(waiting, {});
        for (RcuHead* head : now) head->function(head);
    }
};
inline Rooms* rooms;

/// Thrown instead of a power-off or restart.
struct MachineEnd {};

void call_rcu(RcuHead& head, void (*function)(RcuHead*)) {
    head.function = function;
    rooms->waiting.push_back(&head);
}

namespace sched {
Result<> init_domain(Domain&) {
    return rooms->step("sched");
}
void destroy_domain(Domain&) {
    rooms->done.push_back("~sched");
}
void stop_watchdogs(Domain&) {}
Result<> add_vcpu(Vcpu&) {
    return rooms->step("sched vcpu");
}
void remove_vcpu(Vcpu&) {
    rooms->done.push_back("~sched vcpu");
}
void domain_pause(Domain& d) {
    ++d.pause_count;
}
void domain_pause_nosync(Domain& d) {
    ++d.pause_count;
}
void domain_unpause(Domain& d) {
    --d.pause_count;
}
}  // namespace sched

namespace event {
Result<> init_domain(Domain&) {
    return rooms->step("event");
}
bool close_all(Domain&) {
    return rooms->again("close ports");
}
void destroy_domain(Domain&) {
    rooms->done.push_back("~event");
}
void send_host_virq(uint32_t virq) {
    rooms->exceptions += virq == VIRQ_DOM_EXC;
}
Result<> send(Domain&, Port) {
    return {};
}
}  // namespace event

namespace grant {
Result<> init_domain(Domain&, const Limits&) {
    return rooms->step("grant");
}
bool release_mappings(Domain&) {
    return rooms->again("release grants");
}
void destroy_domain(Domain&) {
    rooms->done.push_back("~grant");
}
}  // namespace grant

namespace arch {
Vcpu& current() {
    return *rooms->current;
}
void log_guest_state(const Domain&) {}
Result<> init_domain(Domain&, const DomainConfig&) {
    return rooms->step("arch");
}
void destroy_domain(Domain&) {
    rooms->done.push_back("~arch");
}
Result<> init_vcpu(Vcpu&) {
    return rooms->step("arch vcpu");
}
void destroy_vcpu(Vcpu&) {
    rooms->done.push_back("~arch vcpu");
}
bool relinquish_domain(Domain&) {
    return rooms->again("page tables");
}
void update_domain_wallclock(Domain&) {}
void machine_restart() {
    throw MachineEnd{};
}
void machine_halt() {
    throw MachineEnd{};
}
void machine_power_off() {
    throw MachineEnd{};
}
}  // namespace arch

namespace boot {
const Options& options() {
    static Options o;
    return o;
}
}  // namespace boot

}  // namespace hv
