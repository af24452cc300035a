#include "hv/x86/boot/foreign_options.hpp"

#include <algorithm>

namespace hv::boot {
namespace {

// In order, for the search; filled, for one name a line says no more.
// clang-format off
constexpr std::string_view kNames[] = {
    "acpi", "acpi_apic_instance", "acpi_pstate_strict", "acpi_skip_timer_override",
    "acpi_sleep", "allow_unsafe", "altp2m", "apic", "apic_verbosity", "apicv", "arat", "argo",
    "asid", "async-show-all", "ats", "availmem", "badpage", "bootscrub", "bootscrub_chunk",
    "cet", "clocksource", "cmci-threshold", "cmos-rtc-probe", "console_timestamps",
    "console_to_ring", "conswitch", "core_parking", "cpufreq", "cpuid", "cpuid_mask_cpu",
    "cpuidle", "cpuinfo", "crashinfo_maxaddr", "crashkernel", "credit2_balance_over",
    "credit2_balance_under", "credit2_cap_period_ms", "credit2_load_precision_shift",
    "credit2_load_window_shift", "credit2_runqueue", "dbgp", "debug_stack_lines", "debugtrace",
    "dit", "dma_bits", "dom0-cpuid", "dom0-iommu", "dom0_ioports_disable", "dom0_nodes",
    "e820-mtrr-clip", "e820-verbose", "edd", "edid", "ept", "extra_guest_irqs", "flask",
    "font", "force-ept", "global-pages", "gnttab", "gnttab_max_frames",
    "gnttab_max_maptrack_frames", "guest_console", "hap", "hap_1gb", "hap_2mb", "hardware_dom",
    "hest_disable", "highmem-start", "hpet", "hpetbroadcast", "hvm_debug", "hvm_fep",
    "hvm_port80", "idle_latency_factor", "invpcid", "ioapic_ack", "iommu",
    "iommu_dev_iotlb_timeout", "iommu_inclusive_mapping", "irq-max-guests", "irq_ratelimit",
    "irq_vector_map", "lapic", "lapic_timer_c2_ok", "ler", "lock-depth-size", "low_crashinfo",
    "max_cstate", "max_gsi_irqs", "mce", "mce_fb", "mce_verbosity", "mem",
    "memop-max-order", "mmcfg", "mmio-relax", "msi", "mtrr.show", "mwait-idle", "nmi",
    "no-real-mode", "noapic", "noirqbalance", "nolapic", "nr_irqs", "pci",
    "pci-phantom", "pcid", "ple_gap", "ple_window", "probe-port-aliases", "psr", "pv",
    "pv-l1tf", "pv-linear-pt", "pv-shim", "rcu-idle-timer-period-ms", "reboot", "rmrr",
    "ro-hpet", "sched-gran", "sched_credit2_max_cpus_runqueue", "sched_credit2_migrate_resist",
    "sched_ratelimit_us", "sched_smt_power_savings", "scrub-domheap", "serial_tx_buffer", "smt",
    "snb_igd_quirk", "sync_console", "tboot", "tbuf_size", "tdt", "tevt_mask",
    "tickle_one_idle_cpu", "timer_slop", "tsc", "tsx", "ucode", "unrestricted_guest",
    "vcpu_migration_delay", "vesa-map", "vesa-mtrr", "vesa-ram",
    "viridian-spinlock-retry-count", "viridian-version", "vm-notify-window", "vpid", "vpmu",
    "watchdog", "watchdog_timeout", "x2apic-mode", "x2apic_phys", "xsave", "xsm",
};
// clang-format on
static_assert(std::is_sorted(std::begin(kNames), std::end(kNames)));

}  // namespace

bool is_foreign_option(std::string_view name) {
    return std::binary_search(std::begin(kNames), std::end(kNames), name);
}

}  // namespace hv::boot
