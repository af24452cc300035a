// Ways off the current stack.
#pragma once

#include "hv/x86/cpu/cpu_info.hpp"

extern "C" {
/// Forgets what the stack holds, does what is pending for the current vCPU and enters its guest.
[[noreturn]] void hv_resume();
[[noreturn]] void hv_switch_stack_and_call(void* stack, void (*function)());
void hv_exit_work();
}

namespace hv::cpu {

/// Forgets what the stack holds and calls `function`, which does not return.
[[noreturn]] inline void reset_stack_and_call(void (*function)()) {
    hv_switch_stack_and_call(&cpu_info(), function);
}

}  // namespace hv::cpu
