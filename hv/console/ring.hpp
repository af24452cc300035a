// The console ring: the newest characters of the log, which `xl dmesg` reads.
#pragma once

#include <string_view>

#include "base/result.hpp"
#include "hv/hypercall/guest_ptr.hpp"

namespace hv::console {

/// XEN_SYSCTL_readconsole: copies out from `index` on (if `incremental`, else from the oldest),
/// clears if asked. `count`: in, the buffer's size; out, what was copied. `index`: where to go on.
Result<> read_ring(GuestOut<char> buffer, uint32_t& count, uint32_t& index, bool incremental,
                   bool clear);

/// What Domain 0 prints: for the serial line (and the screen, if that is kept) only. In the ring it
/// would be read by `xl dmesg`, printed, and so come into the ring again.
void write_past_ring(std::string_view text);
/// Text for the serial line and the ring, as it is.
void write(std::string_view text);

}  // namespace hv::console
