// Inside the console room: one character to the serial line; the console's lock is held.
#pragma once

namespace hv::console {

void serial_put(char c);

}  // namespace hv::console
