// Debug keys: one character, one report into the log (`xl debug-keys`, or typed on the console).
#pragma once

namespace hv::console {

/// 'h' lists the keys. An unknown key says so.
void handle_key(char key);

}  // namespace hv::console
