#include "hv/x86/boot/smp.hpp"

#include <atomic>
#include <cstring>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "arch/time.hpp"
#include "base/shared_lock.hpp"
#include "hv/console/log.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/sched/sched.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/acpi/nodes.hpp"
#include "hv/x86/boot/memory_map.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/boot/secondary.hpp"
#include "hv/x86/cpu/cpu_init.hpp"
#include "hv/x86/irq/lapic.hpp"
#include "hv/x86/paging/host.hpp"
#include "hv/x86/time/time.hpp"

extern "C" {
extern const char trampoline_start[], trampoline_data[], trampoline_end[];
}

namespace hv::boot {
namespace {

// Intel's manual, volume 3, 10.4.4.1: 10 ms after INIT; a second SIPI if the first is not heard.
constexpr Nanoseconds kInitDelay = 10 * kMillisecond;
constexpr Nanoseconds kSecondStartup = kMillisecond;
// Far more than any CPU needs; an emulator's thread on a busy host may get to run that late.
constexpr Nanoseconds kAnswerLimit = kSecond;

/// The words behind trampoline_data in trampoline.S.
struct [[gnu::packed]] TrampolineData {
    uint32_t enter_32;
    uint16_t selector_32, padding;
    uint32_t enter_64;
    uint16_t selector_64;
    uint16_t gdt_limit;
    uint32_t gdt_base;
    uint32_t cr3;
    uint64_t stack;
    uint64_t entry;
    uint32_t cpu;
};

CpuNames g_names[kMaxCpus];
CpuId g_highest_present;

/// The boot CPU is 0, the others follow in the firmware's order.
void number_cpus() {
    const uint32_t boot_apic_id = irq::lapic::id();
    const auto node_of = [](uint32_t apic_id) { return acpi::node_of_apic(acpi::info(), apic_id); };
    g_names[0] = {boot_apic_id, 0, node_of(boot_apic_id)};
    unsigned left_out = 0;
    for (const acpi::Cpu& cpu : acpi::info().cpus) {
        if (cpu.apic_id == boot_apic_id) g_names[0].acpi_id = cpu.acpi_id;
        if (!cpu.enabled || cpu.apic_id == boot_apic_id) continue;
        if (g_highest_present + 1 == kMaxCpus || (cpu.apic_id > 254 && !irq::lapic::is_x2apic())) {
            ++left_out;
            continue;
        }
        g_names[++g_highest_present] = {cpu.apic_id, cpu.acpi_id, node_of(cpu.apic_id)};
    }
    if (left_out)
        log(LogLevel::kWarning, "{} CPUs are left out: more than {}, or unreachable without x2APIC",
            left_out, kMaxCpus);
}

CpuId highest_wanted() {
    if (options().nosmp) return 0;
    const unsigned limit = options().max_cpus;
    return limit && limit <= g_highest_present ? limit - 1 : g_highest_present;
}

/// The highest page of RAM below 640 KiB: nobody but firmware that has finished used it.
Result<uint64_t> find_low_page() {
    constexpr uint64_t kLowMemoryEnd = 0xa0000;
    uint64_t best = 0;
    for (const MemoryRegion& region : memory_map()) {
        if (region.type != kRam || region.start >= kLowMemoryEnd) continue;
        const uint64_t end = region.start + region.bytes;
        const uint64_t top = (end < kLowMemoryEnd ? end : kLowMemoryEnd) & kPageMask;
        if (top >= kPageSize && top - kPageSize >= region.start && top - kPageSize > best)
            best = top - kPageSize;
    }
    if (!best) return Errno::kENOENT;
    return best;
}

/// Page tables below 4 GiB (protected mode loads 32 bits of CR3) that show the first 2 MiB where
/// they are, and the hypervisor where it is.
class TransitTables {
  public:
    static Result<TransitTables> create() {
        constexpr uint64_t kTable = 3;          // present, writable
        constexpr uint64_t kIdentity2M = 0x83;  // and large
        TransitTables tables;
        for (Mfn& frame : tables.frames_)
            frame = TRY(memory::alloc_frames(0, {.address_bits = 32}));
        auto* l4 = arch::mfn_to_virt<uint64_t>(tables.frames_[0]);
        memcpy(l4, paging::host_l4(), kPageSize);
        l4[0] = address_of(tables.frames_[1]) | kTable;
        arch::mfn_to_virt<uint64_t>(tables.frames_[1])[0] = address_of(tables.frames_[2]) | kTable;
        arch::mfn_to_virt<uint64_t>(tables.frames_[2])[0] = kIdentity2M;
        return tables;
    }
    uint32_t cr3() const { return static_cast<uint32_t>(address_of(frames_[0])); }

    TransitTables(TransitTables&& other) {
        for (size_t i = 0; i < kFrames; ++i)
            frames_[i] = std::exchange(other.frames_[i], kInvalidMfn);
    }
    ~TransitTables() {
        for (Mfn frame : frames_)
            if (frame != kInvalidMfn) memory::free_frames(frame, 0);
    }

  private:
    static constexpr size_t kFrames = 3;
    TransitTables() = default;
    Mfn frames_[kFrames] = {kInvalidMfn, kInvalidMfn, kInvalidMfn};
};

/// The copy of trampoline.S at its place.
class Trampoline {
  public:
    static Result<Trampoline> create(const TransitTables& tables) {
        const uint64_t page = TRY(find_low_page());
        void* mapped = arch::map_device(page, kPageSize, arch::Caching::kCached);
        if (!mapped) return Errno::kENOMEM;
        memcpy(mapped, trampoline_start, static_cast<size_t>(trampoline_end - trampoline_start));
        auto* data = reinterpret_cast<TrampolineData*>(static_cast<char*>(mapped) +
                                                       (trampoline_data - trampoline_start));
        const auto base = static_cast<uint32_t>(page);
        data->enter_32 += base;
        data->enter_64 += base;
        data->gdt_base += base;
        data->cr3 = tables.cr3();
        data->entry = reinterpret_cast<uint64_t>(secondary_start);
        return Trampoline(page, data);
    }
    void aim_at(CpuId cpu, void* stack) {
        data_->stack = reinterpret_cast<uint64_t>(stack);
        data_->cpu = cpu;
    }
    uint8_t startup_page() const { return static_cast<uint8_t>(page_ >> kPageShift); }

  private:
    Trampoline(uint64_t page, TrampolineData* data) : page_(page), data_(data) {}
    uint64_t page_;
    TrampolineData* data_;
};

void wait(Nanoseconds duration) {
    const Nanoseconds end = arch::now() + duration;
    while (arch::now() < end) base::spin_wait();
}

template <class Condition>
bool wait_until(Condition condition, Nanoseconds limit) {
    const Nanoseconds end = arch::now() + limit;
    while (!condition()) {
        if (arch::now() >= end) return false;
        base::spin_wait();
    }
    return true;
}

/// INIT has been sent. False if the CPU does not come.
bool start_one(Trampoline& trampoline, CpuId cpu) {
    Result<void*> stack = cpu::prepare_cpu_stack(cpu);
    if (!stack) {
        log(LogLevel::kWarning, "CPU {}: no memory for its stack", cpu);
        return false;
    }
    trampoline.aim_at(cpu, *stack);
    const uint32_t apic_id = g_names[cpu].apic_id;
    const auto begun = [&] { return secondary_has_begun(cpu); };
    irq::lapic::set_id_of(cpu, apic_id);
    irq::lapic::send_startup(apic_id, trampoline.startup_page());
    if (!wait_until(begun, kSecondStartup)) {
        irq::lapic::send_startup(apic_id, trampoline.startup_page());
        if (!wait_until(begun, kAnswerLimit)) return false;
    }
    time::compare_tsc_with(cpu);
    return wait_until([&] { return arch::online_cpus().test(cpu); }, kAnswerLimit);
}

Result<> start_all(CpuId last) {
    TransitTables tables = TRY(TransitTables::create());
    Trampoline trampoline = TRY(Trampoline::create(tables));
    for (CpuId cpu = 1; cpu <= last; ++cpu) irq::lapic::send_init(g_names[cpu].apic_id);
    wait(kInitDelay);  // once for all
    for (CpuId cpu = 1; cpu <= last; ++cpu) {
        if (start_one(trampoline, cpu)) continue;
        log(LogLevel::kWarning, "CPU {} (APIC id {}) does not answer and is left out", cpu,
            g_names[cpu].apic_id);
        // It may still be on its way: the next one must not find its words changed half-way.
        irq::lapic::send_init(g_names[cpu].apic_id);
    }
    return {};
}

}  // namespace

void start_other_cpus() {
    number_cpus();
    const CpuId last = highest_wanted();
    base::LockStripe::provide_for(last + 1);
    if (last == 0) return;
    if (Result<> started = start_all(last); !started)
        log(LogLevel::kWarning, "the other CPUs cannot be started: {}",
            started.error() == Errno::kENOENT ? "no RAM below 640 KiB" : "no memory below 4 GiB");
    log(LogLevel::kInfo, "{} of {} CPUs are online", arch::online_cpus().count(),
        g_highest_present + 1);
}

CpuId highest_present_cpu() {
    return g_highest_present;
}
CpuNames cpu_names(CpuId cpu) {
    return g_names[cpu];
}

}  // namespace hv::boot
