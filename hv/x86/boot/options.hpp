// The boot line (row H2): parsed once, each option named; unknown ones are told in a warning.
#pragma once

#include <cstdint>
#include <string_view>

namespace hv::boot {

/// How much memory Domain 0 gets: `dom0_mem=[min:N,][max:N,]N`, units B K M G T, default KiB as in
/// Xen; negative N: all but that much; `P%` or `N+P%`: so much of what is available, and N.
struct MemorySize {
    bool given = false;
    bool negative = false;
    uint64_t bytes = 0;
    unsigned percent = 0;
};

struct Options {
    MemorySize dom0_mem, dom0_mem_min, dom0_mem_max;
    unsigned dom0_max_vcpus_min = 1, dom0_max_vcpus_max = 0;  ///< 0: as many as CPUs
    bool dom0_vcpus_pin = false;
    char console[64] = "com1,vga";  ///< `console=`, list with commas
    bool vga_keep = false;          ///< `vga=keep`: the screen is not left to Domain 0
    struct Serial {
        unsigned baud = 0;  ///< 0: leave as the firmware set it
        unsigned data_bits = 8, stop_bits = 1;
        char parity = 'n';
        uint16_t port = 0x3f8;
        unsigned irq = 4;
    } com1, com2{.port = 0x2f8, .irq = 3};
    enum class Level : uint8_t { kNone, kError, kWarning, kInfo, kAll };
    Level log_level = Level::kWarning, log_rate = Level::kWarning;
    Level guest_log_level = Level::kNone, guest_log_rate = Level::kWarning;
    char sched[16] = "credit";
    bool noreboot = false;
    int xpti_dom0 = -1, xpti_domu = -1;  ///< -1: as the CPU needs
    bool efi_runtime = true;  ///< efi=rs|no-rs: Domain 0 may call the firmware's services
    bool smap = true, smep = true, x2apic = true, nosmp = false;
    unsigned max_cpus = 0;  ///< maxcpus=; 0: all
    bool numa = true;       ///< numa=off: one node, whatever the SRAT says
    uint64_t conring_bytes = 16 * 1024;
    uint64_t sched_slice_ms = 30;
    uint64_t low_memory_bytes = UINT64_MAX;  ///< low_mem_virq_limit=; UINT64_MAX: as usual
    char command_line[1024] = {};            ///< as given, for XENVER_commandline
    char dom0_extra[512] = {};               ///< what follows ` -- `: for Domain 0's kernel
};

/// The options in force, after parse().
const Options& options();

/// Parses the line the loader gave (with or without the image's name in front). Warnings about
/// what is unknown or has no effect go to `warn`, one whole line each.
void parse_command_line(std::string_view line, void (*warn)(std::string_view));
/// The pure part, for tests.
void parse_command_line(std::string_view line, Options& into, void (*warn)(std::string_view));

}  // namespace hv::boot
