#include "hv/x86/irq/irq.hpp"

#include "arch/cpu.hpp"
#include "base/nospec.hpp"
#include "hv/console/log.hpp"
#include "hv/memory/heap.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/irq/ioapic.hpp"
#include "hv/x86/irq/line_hardware.hpp"
#include "hv/x86/irq/pic.hpp"
#include "hv/x86/irq/vectors.hpp"

namespace hv::irq {
namespace {

constexpr uint32_t kIsaLines = 16;
constexpr uint32_t kIsaTimer = 0;

// Written by init() only.
Irq** g_lines;
uint32_t g_line_count;
std::atomic<bool> g_balancing{true};

const acpi::Override* override_of(uint32_t isa) {
    for (const acpi::Override& o : acpi::info().overrides)
        if (o.source == isa) return &o;
    return nullptr;
}

/// Whether another ISA interrupt has taken the pin of that number (as 0 takes GSI 2).
bool pin_taken_by_other(uint32_t gsi) {
    for (const acpi::Override& o : acpi::info().overrides)
        if (o.gsi == gsi && o.source != gsi) return true;
    return false;
}

/// ISA interrupts are edges, active high, unless the firmware says otherwise; the system control
/// interrupt and PCI's are levels, active low (ACPI 5.2.12.5, PCI 2.2.6).
void describe_pin(Irq& line) {
    const bool isa = line.number < kIsaLines;
    const bool is_sci = line.number == acpi::info().sci;
    line.level = line.active_low = !isa || is_sci;
    line.gsi = isa && pin_taken_by_other(line.number) ? Irq::kNoPin : line.number;
    if (!isa) {
        if (!ioapic::has_pin(line.gsi)) line.gsi = Irq::kNoPin;
        return;
    }
    if (const acpi::Override* o = override_of(line.number)) {
        line.gsi = o->gsi;
        if (o->trigger != acpi::Trigger::kBusDefault)
            line.level = o->trigger == acpi::Trigger::kLevel;
        if (o->polarity != acpi::Polarity::kBusDefault)
            line.active_low = o->polarity == acpi::Polarity::kLow;
    }
    if (!ioapic::has_pin(line.gsi)) line.gsi = Irq::kNoPin;
}

/// The end of a throttled line's rest.
void end_rest(void* data) {
    Irq& line = *static_cast<Irq*>(data);
    LockGuard guard(line.lock);
    if (!line.throttled) return;
    line.throttled = false;
    if (line.consumer != Irq::Consumer::kNobody && !line.in_flight) set_masked(line, false);
}

/// A line and another that ISA numbering gives the same pin must not both be served.
bool pin_in_use(const Irq& line) {
    if (!line.is_pin()) return false;
    for (uint32_t i = 0; i < g_line_count; ++i)
        if (g_lines[i] != &line && g_lines[i]->gsi == line.gsi &&
            g_lines[i]->consumer != Irq::Consumer::kNobody)
            return true;
    return false;
}

/// Lock held. Gives the line a vector and its hardware that vector; still masked.
Result<> start(Irq& line, CpuId cpu) {
    if (!line.is_pin() && !line.is_msi) return Errno::kENODEV;
    if (line.consumer != Irq::Consumer::kNobody || pin_in_use(line)) return Errno::kEBUSY;
    line.vector = TRY(allocate_vector(line));
    line.cpu = arch::online_cpus().test(cpu) ? cpu : 0;
    line.in_flight = line.throttled = false;
    line.burst = 0;
    program(line);
    return {};
}

/// Lock held. An interrupt that is already on its way finds its vector without a line.
void stop(Irq& line) {
    set_masked(line, true);
    if (line.is_msi) enable_messages(line.msi, false);
    line.throttle_timer.stop();
    line.consumer = Irq::Consumer::kNobody;
    line.guest = nullptr;
    line.handler = nullptr;
    line.in_flight = line.throttled = false;
    free_vector(line.vector);
    line.vector = 0;
}

}  // namespace

Irq::Irq() {
    throttle_timer.init(end_rest, this, 0);
}

void init() {
    pic::init();
    ioapic::init();
    const uint32_t pins = ioapic::gsi_count();
    const uint32_t count = pins < kIsaLines ? kIsaLines : pins;
    g_lines = static_cast<Irq**>(
        heap::allocate(count * sizeof(Irq*)));  // NOLINT(bugprone-sizeof-expression): pointers
    if (!g_lines) panic("no memory for {} interrupt lines", count);
    for (uint32_t i = 0; i < count; ++i) {
        g_lines[i] = heap::create<Irq>();
        if (!g_lines[i]) panic("no memory for {} interrupt lines", count);
        g_lines[i]->number = i;
        describe_pin(*g_lines[i]);
    }
    g_line_count = count;
    g_lines[kIsaTimer]->reserved = true;  // the PIT is the hypervisor's
}

uint32_t line_count() {
    return g_line_count;
}

Irq* line_of(uint32_t number) {
    if (number >= g_line_count) return nullptr;
    return g_lines[base::index_nospec(number, g_line_count)];
}

Result<> bind_handler(Irq& line, Irq::Handler handler, void* context, CpuId cpu) {
    LockGuard guard(line.lock);
    TRY(start(line, cpu));
    line.reserved = true;
    line.handler = handler;
    line.context = context;
    line.consumer = Irq::Consumer::kHypervisor;
    set_masked(line, false);
    return {};
}

void unbind_handler(Irq& line) {
    LockGuard guard(line.lock);
    if (line.consumer == Irq::Consumer::kHypervisor) stop(line);
}

Result<> bind_guest(Irq& line, Domain& guest, Pirq pirq, CpuId cpu) {
    LockGuard guard(line.lock);
    if (line.reserved) return Errno::kEPERM;
    TRY(start(line, cpu));
    line.guest = &guest;
    line.pirq = pirq;
    line.consumer = Irq::Consumer::kGuest;
    set_masked(line, false);
    if (line.is_msi) enable_messages(line.msi, true);
    return {};
}

void unbind_guest(Irq& line, Domain& guest) {
    LockGuard guard(line.lock);
    if (line.consumer == Irq::Consumer::kGuest && line.guest == &guest) stop(line);
}

void guest_eoi(Irq& line, const Domain& guest) {
    LockGuard guard(line.lock);
    if (line.guest != &guest || !line.in_flight) return;
    line.in_flight = false;
    if (!line.throttled) set_masked(line, false);
}

void stop_balancing() {
    g_balancing.store(false);
}

void move_to_cpu(Irq& line, CpuId cpu) {
    if (!g_balancing.load(std::memory_order_relaxed)) return;
    LockGuard guard(line.lock);
    if (line.consumer == Irq::Consumer::kNobody || line.cpu == cpu) return;
    if (!arch::online_cpus().test(cpu)) return;
    line.cpu = cpu;
    retarget(line);
}

Result<> configure(Irq& line, bool level, bool active_low) {
    LockGuard guard(line.lock);
    if (!line.is_pin()) return Errno::kENODEV;
    if (line.configured || line.consumer != Irq::Consumer::kNobody) return Errno::kEEXIST;
    line.level = level;
    line.active_low = active_low;
    line.configured = true;
    return {};
}

Result<Irq*> create_msi_line(const Msi& msi) {
    Irq* line = heap::create<Irq>();
    if (!line) return Errno::kENOMEM;
    line->is_msi = true;
    line->msi = msi;
    return line;
}

void destroy_msi_line(Irq* line) {
    line->throttle_timer.kill();
    call_rcu(*line, [](RcuHead* head) { heap::destroy(static_cast<Irq*>(head)); });
}

void restore_msi_line(Irq& line) {
    LockGuard guard(line.lock);
    if (!line.is_msi || line.consumer == Irq::Consumer::kNobody) return;
    program(line);
    set_masked(line, line.throttled);
    enable_messages(line.msi, true);
}

}  // namespace hv::irq
