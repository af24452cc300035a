// Calls out of hot code that hardly ever happen.
#pragma once

// Of a function: it keeps every register, so that a caller which hardly ever calls it need not save
// any. Costs the callee, not the caller. (The host build has vector registers, which cannot be kept
// so, and no hot code.)
#ifdef XENOLITH_HOST
#define ARCH_KEEPS_REGISTERS
#else
#define ARCH_KEEPS_REGISTERS __attribute__((no_caller_saved_registers))
#endif
