// Inside the console room: one character to the serial line and the screen; the console's lock is
// held.
#pragma once

namespace hv::console {

void put_out(char c);
/// What the ring holds, for a screen that begins later. The lock is taken.
void for_each_in_ring(void (*fn)(char));

}  // namespace hv::console
