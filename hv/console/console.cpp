#include "hv/console/console.hpp"

#include <algorithm>

#include <xen/xen.h>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "base/lock.hpp"
#include "hv/console/keys.hpp"
#include "hv/console/log.hpp"
#include "hv/console/output.hpp"
#include "hv/console/ring.hpp"
#include "hv/event/event.hpp"
#include "hv/lock_rank.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/boot/screen.hpp"
#include "hv/x86/console/screen.hpp"
#include "hv/x86/console/uart.hpp"
#include "hv/x86/cpu/port_io.hpp"
#include "hv/x86/irq/irq.hpp"

namespace hv::console {
namespace {

constexpr char kSwitchKey = 'a' & 0x1f;  // Ctrl-A, three times, as in Xen
constexpr unsigned kSwitchCount = 3;

Uart uart;
Screen screen;

// Typed characters that Domain 0 has not taken yet. When it does not read, the newest are lost.
struct Input {
    char text[1024];
    uint32_t put = 0, taken = 0;
    bool to_domain0 = false;
    unsigned switch_keys = 0;
};
Locked<Input, Rank::kConsole> input;

char kept_warnings[2048];
size_t kept;

UartConfig config_of(const boot::Options::Serial& s) {
    return {s.port, s.irq, s.baud, s.data_bits, s.stop_bits, s.parity};
}

/// Whether a name in `console=` begins so: behind it may stand which half of a shared line it is.
bool wants(std::string_view list, std::string_view name) {
    while (!list.empty()) {
        const size_t comma = list.find(',');
        if (list.substr(0, comma).starts_with(name)) return true;
        if (comma == std::string_view::npos) return false;
        list.remove_prefix(comma + 1);
    }
    return false;
}

/// VGA's CRT controller, register 10 (cursor start), bit 5: no cursor.
void hide_cursor() {
    constexpr uint16_t kIndex = 0x3d4;
    arch::out8(kIndex, 0x0a);
    arch::out8(kIndex + 1, 0x20);
}

/// True: the character was one of the three that switch, or was for the keys.
bool taken_by_hypervisor(Input& in, char c, bool& is_key, bool& switched) {
    if (c == kSwitchKey) {
        if (++in.switch_keys < kSwitchCount) return true;
        in.switch_keys = 0;
        in.to_domain0 = !in.to_domain0;
        switched = true;
        return true;
    }
    in.switch_keys = 0;
    is_key = !in.to_domain0;
    return is_key;
}

void receive(char c) {
    bool is_key = false, switched = false, to_domain0 = false;
    {
        auto in = input.lock();
        if (!taken_by_hypervisor(*in, c, is_key, switched)) {
            if (in->put - in->taken < sizeof in->text) in->text[in->put++ % sizeof in->text] = c;
        }
        to_domain0 = in->to_domain0;
    }
    if (switched)
        log(LogLevel::kError, "input goes to {} (Ctrl-A three times to switch)",
            to_domain0 ? "Domain 0" : "the hypervisor: h for help");
    else if (is_key)
        handle_key(c);
    else
        event::send_host_virq(VIRQ_CONSOLE);
}

void uart_interrupt(void*) {
    char c;
    for (unsigned n = 0; n < 64 && uart.get(c); ++n) receive(c);
}

}  // namespace

void put_out(char c) {
    screen.put(c);
    if (!uart.is_open()) return;
    if (c == '\n') uart.put('\r');
    uart.put(c);
}

void early_warning(std::string_view line) {
    for (std::string_view piece : {std::string_view("(XEN) "), line, std::string_view("\n")}) {
        const size_t n = std::min(piece.size(), sizeof kept_warnings - kept);
        std::copy_n(piece.data(), n, kept_warnings + kept);
        kept += n;
    }
}

void init() {
    const boot::Options& o = boot::options();
    if (wants(o.console, "com1"))
        (void)uart.open(config_of(o.com1));
    else if (wants(o.console, "com2"))
        (void)uart.open(config_of(o.com2));
    write("(XEN) Xenolith, a Xen 4.17 hypervisor in C++\n(XEN) Command line: ");
    write(o.command_line);
    write("\n");
    write({kept_warnings, kept});
}

void start_screen() {
    if (!wants(boot::options().console, "vga")) return;
    const dom0_vga_console_info* info = boot::screen();
    Surface surface;
    if (!info) return log(LogLevel::kInfo, "no screen is known: nothing is shown on it");
    if (!describe_surface(*info, surface))
        return log(LogLevel::kWarning, "the screen is of a kind that nothing can be shown on");
    const uint64_t address = surface_address(*info);
    surface.memory = static_cast<uint8_t*>(
        arch::map_device(address, surface_bytes(surface), arch::Caching::kWriteCombined));
    if (!surface.memory) return log(LogLevel::kWarning, "no memory to map the screen");
    if (surface.text) hide_cursor();
    screen.open(surface);
    for_each_in_ring([](char c) { screen.put(c); });
    log(LogLevel::kInfo, "screen: {} x {} characters, {} at {:x}", surface.columns, surface.rows,
        surface.text ? "text" : "a frame buffer", address);
}

void reclaim_screen() {
    screen.reopen();
}

void start_input() {
    set_softirq_handler(Softirq::kConsole, [] { event::send_host_virq(VIRQ_CON_RING); });
    if (!uart.is_open()) return;
    irq::Irq* line = irq::line_of(uart.irq());
    if (!line || !irq::bind_handler(*line, uart_interrupt, nullptr).ok()) {
        log(LogLevel::kWarning, "the console's interrupt {} cannot be had: no input", uart.irq());
        return;
    }
    uart.enable_input_interrupt();
}

void give_to_domain0() {
    input.lock()->to_domain0 = true;
    if (!screen.is_open()) return;
    if (boot::options().vga_keep)
        return log(LogLevel::kInfo, "the screen stays the hypervisor's too (vga=keep)");
    log(LogLevel::kInfo, "the screen is Domain 0's from now on");
    screen.close();
}

size_t take_input(char* into, size_t size) {
    auto in = input.lock();
    size_t n = 0;
    while (n < size && in->taken != in->put) into[n++] = in->text[in->taken++ % sizeof in->text];
    return n;
}

}  // namespace hv::console
