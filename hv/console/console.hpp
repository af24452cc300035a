// The machine's console: a serial line and the screen, shared by the hypervisor's log, Domain 0
// (hvc0) and the debug keys. Ctrl-A three times switches input between Domain 0 and the keys.
#pragma once

#include <string_view>

namespace hv::console {

/// Opens the serial line that `console=` names. Before anything is printed.
void init();
/// Shows on the screen, if `console=` names it (vga) and one is known, what has been printed so far
/// and what comes; once devices can be mapped.
void start_screen();
/// A warning about the boot line, which is read before the console is: kept until init().
void early_warning(std::string_view line);
/// From here on typed characters are taken in (interrupt of the UART), first for the keys.
void start_input();
/// Input goes to Domain 0 from now on, and the screen is its own, unless `vga=keep`.
void give_to_domain0();
/// For a panic, when no other CPU runs: the screen is taken back from Domain 0, if it was given
/// away.
void reclaim_screen();

/// Takes up to `size` typed characters that wait for Domain 0.
size_t take_input(char* into, size_t size);

}  // namespace hv::console
