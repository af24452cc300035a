// User mode: a page table of its own, a text, a data and a stack page, and code fragments for them.
#pragma once

#include "traps.hpp"

namespace guest {

constexpr Arg kUserText = 0x400000;
constexpr Arg kUserData = 0x600000;
constexpr Arg kUserStackTop = 0x802000;

/// Builds the user table at first use, and makes it the current one.
void use_user_space();
/// The user's data page (one 4 KiB page at kUserData) as the kernel sees it.
void* user_data();
uint64_t* user_l4();
/// The user's L1 table; entry n maps kUserText + n pages only for those in the first 2 MiB.
uint64_t* user_l1_of(Arg va);

/// A frame that starts `code` (a USER_CODE) on the user's stack, upcalls enabled, registers zero.
TrapFrame user_frame(const unsigned char* code);
/// The address at which user mode sees a USER_CODE.
Arg user_address(const unsigned char* code);
/// use_user_space(), then enter().
Trap run_user(const unsigned char* code);
Trap run_user(const TrapFrame& frame, uint64_t iret_flags = 0);

}  // namespace guest

/// Position-independent assembly that runs in user mode.
#define USER_CODE(name_, text_)                                                   \
    asm(".pushsection .user_text, \"ax\"\n.globl " #name_ "\n" #name_ ":\n" text_ \
        "\n.popsection");                                                         \
    extern "C" const unsigned char name_[]
