// A machine of pins and messages for tests of hv/x86/irq: it records every command to its
// interrupt controllers, in order.
//
// It defines the functions of the rooms around, so include it in one source file of a test only.
#pragma once

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "arch/time.hpp"
#include "fake/no_trace.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/event/event.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/memory/heap.hpp"
#include "hv/memory/page.hpp"
#include "hv/sched/rcu.hpp"
#include "hv/sched/timer.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/irq/dispatch.hpp"
#include "hv/x86/irq/ioapic.hpp"
#include "hv/x86/irq/irq.hpp"
#include "hv/x86/irq/lapic.hpp"
#include "hv/x86/irq/pic.hpp"
#include "hv/x86/irq/pirq.hpp"
#include "hv/x86/irq/vectors.hpp"
#include "hv/x86/paging/flush.hpp"

namespace hv {

struct InterruptMachine {
    struct Pin {
        irq::ioapic::Route route;
        bool masked = true;
    };
    std::vector<std::string> steps;  ///< "mask 9", "eoi", "send 9" …
    std::map<uint32_t, Pin> pins;
    std::map<const Timer*, Nanoseconds> timers;
    std::vector<RcuHead*> grace;
    Nanoseconds now = 0;
    acpi::Info acpi;
    std::vector<uint32_t> sent;  ///< PIRQs
    bool message_masked = true, messages_on = false;
    irq::MsiTarget message{};
    size_t heap_objects = 0;

    void note(std::string step) { steps.push_back(std::move(step)); }
    /// Fires timers that are due.
    void run_until(Nanoseconds time);
    void end_grace_period() {
        for (RcuHead* head : std::exchange(grace, {})) head->function(head);
    }
};
inline InterruptMachine machine;

namespace acpi {
const Info& info() {
    return machine.acpi;
}
}  // namespace acpi

namespace irq {
namespace pic {
void init() {}
}  // namespace pic

namespace ioapic {
constexpr uint32_t kPins = 24;
void init() {}
uint32_t gsi_count() {
    return kPins;
}
bool has_pin(uint32_t gsi) {
    return gsi < kPins;
}
void set_route(uint32_t gsi, const Route& route) {
    machine.pins[gsi] = {route, true};
}
void set_destination(uint32_t gsi, uint8_t id) {
    machine.pins[gsi].route.apic_id = id;
}
void set_masked(uint32_t gsi, bool masked) {
    machine.pins[gsi].masked = masked;
    machine.note((masked ? "mask " : "unmask ") + std::to_string(gsi));
}
}  // namespace ioapic

namespace lapic {
void eoi() {
    machine.note("eoi");
}
uint32_t id_of(CpuId cpu) {
    return cpu * 2;
}
void handle_error() {}
void send_ipi(CpuId, uint8_t) {}
}  // namespace lapic

void write_message(const Msi&, MsiTarget target) {
    machine.message = target;
    machine.message_masked = true;
}
void set_message_masked(const Msi& msi, bool masked) {
    if (msi.maskable) machine.message_masked = masked;
}
void enable_messages(const Msi&, bool on) {
    machine.messages_on = on;
}
void note_kick() {}
}  // namespace irq

namespace event {
bool send_pirq(Domain&, Pirq pirq) {
    machine.sent.push_back(pirq.raw());
    machine.note("send " + std::to_string(pirq.raw()));
    return true;
}
void unmask_pirq(Domain&, Pirq) {
    machine.note("unmask port");
}
}  // namespace event

namespace arch {
uintptr_t kDirectMap;
uintptr_t kFrameTable;
CpuId this_cpu() {
    return 0;
}
Vcpu& current() {
    std::abort();
}
CpuMask online_cpus() {
    return CpuMask::first_n(2);
}
Nanoseconds now() {
    return machine.now;
}
void serve_flush_request() {}
CpuMask cpus_not_flushed_since(const CpuMask&, uint32_t) {
    return {};
}
void flush_tlb(const CpuMask&) {}
uint32_t tlb_flush_stamp() {
    return 0;
}
}  // namespace arch

namespace heap {
void* allocate(size_t bytes) {
    ++machine.heap_objects;
    return std::calloc(1, bytes);
}
void release(void* object) {
    if (object) --machine.heap_objects;
    std::free(object);
}
}  // namespace heap

namespace memory {
void free_domain_frame(PageInfo&) {}  // no frame is ever freed here
}  // namespace memory

namespace {
struct TimerCall {
    Timer::Function function;
    void* data;
};
std::map<const Timer*, TimerCall> timer_calls;
}  // namespace

void Timer::init(Function function, void* data, CpuId) {
    timer_calls[this] = {function, data};
}
void Timer::set(Nanoseconds deadline) {
    machine.timers[this] = deadline;
}
void Timer::stop() {
    machine.timers.erase(this);
}
void Timer::kill() {
    stop();
    timer_calls.erase(this);
}
void timer_interrupt() {}
void call_rcu(RcuHead& head, void (*function)(RcuHead*)) {
    head.function = function;
    machine.grace.push_back(&head);
}

void InterruptMachine::run_until(Nanoseconds time) {
    now = time;
    for (auto it = timers.begin(); it != timers.end();) {
        if (it->second > time) {
            ++it;
            continue;
        }
        const TimerCall call = timer_calls[it->first];
        it = timers.erase(it);
        call.function(call.data);
    }
}

bool log_enabled(LogLevel, bool) {
    return false;
}
void log_args(LogLevel, bool, std::string_view, const base::FormatArg*, size_t) {}
void panic_args(std::string_view, const base::FormatArg*, size_t) {
    std::abort();
}

}  // namespace hv

namespace base {
void spin_wait() {
    std::abort();
}  // one thread: a lock that is taken twice is a deadlock
void note_lock_taken(uint8_t) {}
void note_lock_dropped(uint8_t) {}
}  // namespace base
