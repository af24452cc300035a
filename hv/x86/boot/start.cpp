// From the first C++ function to Domain 0: the order in which everything comes up.
#include <algorithm>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/console/console.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/event/event.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/sched/rcu.hpp"
#include "hv/sched/sched.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/sched/timer.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/acpi/nodes.hpp"
#include "hv/x86/boot/boot_info.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/boot/screen.hpp"
#include "hv/x86/boot/smp.hpp"
#include "hv/x86/cpu/cpu_info.hpp"
#include "hv/x86/cpu/cpu_init.hpp"
#include "hv/x86/cpu/fpu.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/policy.hpp"
#include "hv/x86/cpu/resume.hpp"
#include "hv/x86/efi/efi.hpp"
#include "hv/x86/irq/cpus.hpp"
#include "hv/x86/irq/irq.hpp"
#include "hv/x86/irq/lapic.hpp"
#include "hv/x86/paging/host.hpp"
#include "hv/x86/paging/m2p.hpp"
#include "hv/x86/pv/dom0_builder.hpp"
#include "hv/x86/pv/isolation.hpp"
#include "hv/x86/time/time.hpp"

extern "C" {
extern char image_start[], image_end[];
extern void (*init_array_start[])();
extern void (*init_array_end[])();
}

namespace hv::boot {
namespace {

BootInfo info;

// Frames for the first page tables, before the allocator has any: from the end of the highest RAM
// below 4 GiB (the loader's tables map no more) that no module lies in.
uint64_t early_top, early_bottom;

uint64_t image_bottom() {
    return reinterpret_cast<uint64_t>(image_start) - paging::kImage;
}
uint64_t image_top() {
    return reinterpret_cast<uint64_t>(image_end) - paging::kImage;
}

Result<Mfn> early_frame() {
    if (early_top - kPageSize < early_bottom) return Errno::kENOMEM;
    early_top -= kPageSize;
    return mfn_of(early_top);
}

/// What of [start, end) nobody uses, as pieces; `fn(start, end)` for each.
template <class Fn>
void for_free_pieces(uint64_t start, uint64_t end, Fn fn) {
    struct Range {
        uint64_t start, end;
    } used[kMaxModules + 1];
    size_t count = 0;
    used[count++] = {image_bottom(), image_top()};
    for (size_t i = 0; i < info.module_count; ++i) {
        const BootModule& m = info.modules[i];
        used[count++] = {m.machine_address & kPageMask,
                         round_up(m.machine_address + m.size, kPageSize)};
    }
    std::sort(used, used + count, [](const Range& a, const Range& b) { return a.start < b.start; });
    for (size_t i = 0; i < count && start < end; ++i) {
        if (used[i].end <= start) continue;
        if (used[i].start > start) fn(start, std::min(used[i].start, end));
        start = std::max(start, used[i].end);
    }
    if (start < end) fn(start, end);
}

template <class Fn>
void for_free_ram(Fn fn) {
    for (const MemoryRegion& r : memory_map()) {
        if (r.type != kRam) continue;
        const uint64_t start = std::max(round_up(r.start, kPageSize), kMiB);
        const uint64_t end = (r.start + r.bytes) & kPageMask;
        if (start < end) for_free_pieces(start, end, fn);
    }
}

void find_early_memory() {
    for_free_ram([](uint64_t start, uint64_t end) {
        if (end > 4 * kGiB || end - start < kMiB) return;
        early_bottom = start;
        early_top = end;
    });
    if (!early_top) panic("no free RAM below 4 GiB; give the machine at least 256 MiB");
}

void find_nodes() {
    static memory::MachineRange ram[kMaxRegions];  // too large for the loader-time stack
    size_t count = 0;
    for (const MemoryRegion& r : memory_map())
        if (r.type == kRam) ram[count++] = {r.start, r.start + r.bytes};
    acpi::init_nodes({ram, count});
}

void start_memory() {
    find_early_memory();
    const uint64_t early_end = early_top;
    paging::allow_global(!pv::isolation::possible());
    paging::init_host(early_frame);
    find_bios_screen();
    console::start_screen();
    // Before memory is added, for the SRAT says to which node it belongs.
    acpi::init({info.rsdp_copy, info.rsdp_bytes});
    find_nodes();
    for (const MemoryRegion& r : memory_map())
        if (r.type == kRam) memory::describe_ram({r.start, r.start + r.bytes});
    for_free_ram([&](uint64_t start, uint64_t end) {
        if (end == early_end) end = early_top;  // the first tables stay where they are
        if (start < end) memory::add_free_range({start, end});
    });
    paging::set_table_source([] { return memory::alloc_frames(0); });
    paging::build_m2p();
}

/// The boot CPU moves from the loader-time stack to its own, where the rest of boot continues.
[[noreturn]] void start_on_own_stack();

void start_cpu() {
    cpu::detect_features();
    Result<void*> stack = cpu::prepare_cpu_stack(0);
    if (!stack.ok()) panic("no memory for the boot CPU's stack");
    hv_switch_stack_and_call(*stack, start_on_own_stack);
}

void prepare_isolation() {
    const auto setting = [](bool hardware_domain) {
        return pv::isolation::wanted(hardware_domain) ? "on" : "off";
    };
    log(LogLevel::kInfo, "page-table isolation: Domain 0 {}, other domains {}", setting(true),
        setting(false));
    if (!pv::isolation::possible()) return;
    arch::online_cpus().for_each([](size_t cpu) {
        if (!pv::isolation::prepare_cpu(static_cast<CpuId>(cpu)).ok())
            panic("no memory for page-table isolation; boot with xpti=false");
    });
}

/// Once Domain 0 has its memory, which is mostly all but a little.
void watch_memory() {
    set_softirq_handler(Softirq::kLowMemory, [] { event::send_host_virq(VIRQ_ENOMEM); });
    const uint64_t frames = memory::watch_low_memory(options().low_memory_bytes,
                                                     [] { raise_softirq(Softirq::kLowMemory); });
    if (frames)
        log(LogLevel::kInfo, "the tools are told when {} KiB of memory are left", frames * 4);
}

void start_on_own_stack() {
    cpu::init_this_cpu(0);
    arch::cpu_policy::init();
    arch::cpu_policy::init_cpu();
    arch::fpu::init_cpu();
    efi::init(options().efi_runtime);
    irq::lapic::init_cpu();
    irq::init();
    irq::mark_online(0);
    time::init();
    timers_init();
    rcu_init();
    sched::init(options().sched);
    if (!sched::cpu_up(0).ok()) panic("no memory for the boot CPU's idle vCPU");
    cpu::cpu_info().current = &sched::idle_vcpu(0);
    console::start_input();
    start_other_cpus();
    prepare_isolation();
    time::start_correction();

    if (!info.module_count)
        panic(
            "no module was given: Domain 0 needs a kernel (QEMU: -initrd 'vmlinuz …,initramfs'; "
            "GRUB: module2)");
    const BootModule none;
    Result<DomainRef> dom0 =
        pv::build_dom0(info.modules[0], info.module_count > 1 ? info.modules[1] : none);
    if (!dom0.ok())
        panic("Domain 0 cannot be started (error {}); see the line above", dom0.error());
    watch_memory();
    console::give_to_domain0();
    if (!sched::domain_unpause_by_controller(**dom0).ok()) panic("Domain 0 does not start");
    (void)dom0->release();  // Domain 0 lives as long as the machine runs
    cpu::reset_stack_and_call(sched::idle_loop);
}

}  // namespace
}  // namespace hv::boot

extern "C" [[noreturn]] void hv_start(uint32_t magic, uint32_t information) {
    using namespace hv;
    for (auto* fn = init_array_start; fn < init_array_end; ++fn) (*fn)();
    boot::read_boot_info(magic, information, boot::info);
    boot::parse_command_line(boot::info.command_line, console::early_warning);
    console::init();
    if (boot::info.trouble) log(LogLevel::kError, "boot loader: {}", boot::info.trouble);
    boot::start_memory();
    boot::start_cpu();
    __builtin_unreachable();
}
