#include "hv/x86/irq/lapic.hpp"

#include <cpuid.h>

#include <atomic>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/irq/vectors.hpp"

namespace hv::irq::lapic {
namespace {

/// Registers by their offset in xAPIC's page; x2APIC's MSR is 0x800 + offset / 16.
enum class Reg : uint32_t {
    kId = 0x20,
    kVersion = 0x30,
    kTaskPriority = 0x80,
    kEoi = 0xb0,
    kLogicalDestination = 0xd0,
    kDestinationFormat = 0xe0,
    kSpurious = 0xf0,
    kErrorStatus = 0x280,
    kCommand = 0x300,
    kCommandHigh = 0x310,
    kLvtTimer = 0x320,
    kLvtThermal = 0x330,
    kLvtPerformance = 0x340,
    kLvtLint0 = 0x350,
    kLvtLint1 = 0x360,
    kLvtError = 0x370,
    kTimerInitial = 0x380,
    kTimerCurrent = 0x390,
    kTimerDivide = 0x3e0,
};

constexpr uint32_t kSoftwareEnable = 1 << 8;
constexpr uint32_t kLvtMasked = 1 << 16;
constexpr uint32_t kLvtDeadlineMode = 2 << 17;
constexpr uint32_t kDeliverNmi = 4 << 8;
constexpr uint32_t kDeliverInit = 5 << 8;
constexpr uint32_t kDeliverStartup = 6 << 8;
constexpr uint32_t kDeliveryPending = 1 << 12;
constexpr uint32_t kLevelAssert = 1 << 14;
constexpr uint32_t kDivideBy1 = 0xb;

constexpr uint64_t kBaseEnable = 1 << 11;
constexpr uint64_t kBaseX2Apic = 1 << 10;
constexpr uint64_t kBaseAddressMask = 0x000ffffffffff000;

volatile uint32_t* g_page;  // xAPIC's registers; nullptr in x2APIC mode
bool g_x2apic;
bool g_chosen;
bool g_tsc_deadline;
PerCpu<bool> g_deadline_mode;
uint32_t g_ids[kMaxCpus];

uint32_t msr_of(Reg reg) {
    return arch::msr::kX2ApicFirst + static_cast<uint32_t>(reg) / 16;
}
uint32_t read(Reg reg) {
    if (g_x2apic) return static_cast<uint32_t>(arch::read_msr(msr_of(reg)));
    return g_page[static_cast<uint32_t>(reg) / 4];
}
void write(Reg reg, uint32_t value) {
    if (g_x2apic)
        arch::write_msr(msr_of(reg), value);
    else
        g_page[static_cast<uint32_t>(reg) / 4] = value;
}

uint32_t cpuid1_ecx() {
    uint32_t a, b, c, d;
    __cpuid(1, a, b, c, d);
    return c;
}

/// Once, on the boot CPU: the mode that all CPUs use.
void choose_mode() {
    const uint32_t features = cpuid1_ecx();
    const bool has_x2apic = features & (1u << 21);
    const uint64_t base = arch::read_msr(arch::msr::kApicBase);
    // Leaving x2APIC needs a detour through "disabled"; a firmware that switched it on wants it.
    g_x2apic = (base & kBaseX2Apic) || (has_x2apic && boot::options().x2apic);
    g_tsc_deadline = features & (1u << 24);
    if (!g_x2apic) {
        g_page =
            static_cast<volatile uint32_t*>(arch::map_device(base & kBaseAddressMask, kPageSize));
        if (!g_page) panic("no address space to map the local APIC");
    }
    g_chosen = true;
    log(LogLevel::kInfo, "local APICs in {} mode", g_x2apic ? "x2APIC" : "xAPIC");
}

/// Writes the interrupt command. In x2APIC mode MSR writes are not serialising: the fences keep
/// stores before the IPI visible to the CPU that gets it (manual 11.12.3).
void command(uint32_t apic_id, uint32_t low) {
    if (g_x2apic) {
        asm volatile("mfence; lfence" : : : "memory");
        arch::write_msr(msr_of(Reg::kCommand), uint64_t{apic_id} << 32 | low);
        return;
    }
    while (read(Reg::kCommand) & kDeliveryPending) asm volatile("pause");
    write(Reg::kCommandHigh, apic_id << 24);
    write(Reg::kCommand, low);
}

/// The pins: NMIs where the MADT says so, everything else masked (the PICs are not used).
void set_up_pins() {
    write(Reg::kLvtLint0, kLvtMasked);
    write(Reg::kLvtLint1, kLvtMasked);
    const uint32_t mine = id();
    for (const acpi::LocalNmi& nmi : acpi::info().local_nmis) {
        bool applies = nmi.acpi_id == acpi::LocalNmi::kAllCpus;
        for (const acpi::Cpu& cpu : acpi::info().cpus)
            applies |= cpu.acpi_id == nmi.acpi_id && cpu.apic_id == mine;
        if (applies && nmi.lint <= 1)
            write(nmi.lint ? Reg::kLvtLint1 : Reg::kLvtLint0, kDeliverNmi);
    }
}

}  // namespace

void init_cpu() {
    if (!g_chosen) choose_mode();
    uint64_t base = arch::read_msr(arch::msr::kApicBase) | kBaseEnable;
    arch::write_msr(arch::msr::kApicBase, base);  // x2APIC is entered from "enabled" only
    if (g_x2apic) arch::write_msr(arch::msr::kApicBase, base | kBaseX2Apic);

    write(Reg::kTaskPriority, 0);
    if (!g_x2apic) {
        write(Reg::kDestinationFormat, 0xffffffff);  // flat; read-only in x2APIC mode
        write(Reg::kLogicalDestination, 0);          // destinations are physical
    }
    write(Reg::kSpurious, kSoftwareEnable | kVectorSpurious);
    const uint32_t lvt_count = ((read(Reg::kVersion) >> 16) & 0xff) + 1;
    if (lvt_count > 4) write(Reg::kLvtPerformance, kLvtMasked);
    if (lvt_count > 5) write(Reg::kLvtThermal, kLvtMasked);
    set_up_pins();
    write(Reg::kTimerDivide, kDivideBy1);
    write(Reg::kTimerInitial, 0);
    write(Reg::kLvtTimer, kVectorTimer);
    g_deadline_mode.on(arch::this_cpu()) = false;
    write(Reg::kErrorStatus, 0);
    write(Reg::kLvtError, kVectorError);
    eoi();  // the firmware may have left one in service
    g_ids[arch::this_cpu()] = id();
}

void eoi() {
    write(Reg::kEoi, 0);
}

uint32_t id() {
    const uint32_t value = read(Reg::kId);
    return g_x2apic ? value : value >> 24;
}
bool is_x2apic() {
    return g_x2apic;
}

uint32_t id_of(CpuId cpu) {
    return g_ids[cpu];
}
void set_id_of(CpuId cpu, uint32_t apic_id) {
    g_ids[cpu] = apic_id;
}

void send_ipi(CpuId cpu, uint8_t vector) {
    command(g_ids[cpu], kLevelAssert | vector);
}

void send_ipi(const CpuMask& cpus, uint8_t vector) {
    const CpuId self = arch::this_cpu();
    cpus.for_each([&](size_t cpu) {
        if (cpu != self) send_ipi(static_cast<CpuId>(cpu), vector);
    });
}

void send_ipi_all_but_self(uint8_t vector) {
    send_ipi(arch::online_cpus(), vector);
}

void send_init(uint32_t apic_id) {
    command(apic_id, kLevelAssert | kDeliverInit);
}

void send_nmi(uint32_t apic_id) {
    command(apic_id, kLevelAssert | kDeliverNmi);
}

void send_startup(uint32_t apic_id, uint8_t page) {
    command(apic_id, kLevelAssert | kDeliverStartup | page);
}

bool has_tsc_deadline() {
    return g_tsc_deadline;
}

void set_timer_ticks(uint32_t ticks) {
    if (g_deadline_mode.on(arch::this_cpu())) {
        write(Reg::kLvtTimer, kVectorTimer);
        g_deadline_mode.on(arch::this_cpu()) = false;
    }
    write(Reg::kTimerInitial, ticks);
}

void set_timer_deadline(uint64_t tsc) {
    if (!g_deadline_mode.on(arch::this_cpu())) {
        write(Reg::kLvtTimer, kVectorTimer | kLvtDeadlineMode);
        // The change, a store to memory, must be done before the MSR is written (manual 11.5.4.1).
        asm volatile("mfence" : : : "memory");
        g_deadline_mode.on(arch::this_cpu()) = true;
    }
    arch::write_msr(arch::msr::kTscDeadline, tsc);
}

uint32_t read_timer_ticks() {
    return read(Reg::kTimerCurrent);
}

void shut_down() {
    if (!g_chosen) return;
    write(Reg::kLvtTimer, kLvtMasked);
    write(Reg::kLvtError, kLvtMasked);
    write(Reg::kSpurious, kVectorSpurious);
}

void handle_error() {
    static std::atomic<uint32_t> told{0};
    write(Reg::kErrorStatus, 0);  // latches what has gathered since the last write
    const uint32_t status = read(Reg::kErrorStatus);
    if (told.fetch_add(1) < 10)
        log(LogLevel::kWarning, "local APIC {} reports error {:02x}", id(), status);
}

}  // namespace hv::irq::lapic
