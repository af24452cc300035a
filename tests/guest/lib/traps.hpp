// Exceptions and callbacks: catching them, handling them, and what they looked like.
#pragma once

#include "xen.hpp"

namespace guest {

/// Every way the hypervisor enters the guest's kernel, laid down by entry.S.
struct TrapFrame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;

    /// The RPL of the saved CS tells the mode that was interrupted.
    bool from_user() const { return (cs & 3) == 3; }
    uint16_t cs_selector() const { return static_cast<uint16_t>(cs); }
    bool upcalls_were_masked() const { return (cs >> 32) & 0xff; }
};

/// Vectors as entry.S numbers them: the CPU's, one soft interrupt, then the callbacks.
enum Vector : unsigned {
    kDivide = 0,
    kDebug = 1,
    kNmi = 2,
    kBreakpoint = 3,
    kOverflow = 4,
    kInvalidOpcode = 6,
    kDeviceNotAvailable = 7,
    kInvalidTss = 10,
    kSegmentNotPresent = 11,
    kStackFault = 12,
    kGeneralProtection = 13,
    kPageFault = 14,
    kX87 = 16,
    kAlignment = 17,
    kSimd = 19,
    kSoft = 0x80,
    kEvent = 0x100,
    kSyscall = 0x101,
    kFailsafe = 0x102,
    kSyscall32 = 0x103,
    kSysenter = 0x104,
    kVectors = 0x105,
};

/// #PF error code bits.
enum PageFaultBit : uint64_t {
    kPfPresent = 1,
    kPfWrite = 2,
    kPfUser = 4,
    kPfReserved = 8,
    kPfFetch = 16
};

/// A handler returns true to resume the interrupted code with the frame as it left it.
using Handler = bool (*)(TrapFrame&);

/// Installs the trap table and the callbacks, masks upcalls, forgets handlers: the state in which
/// each test starts.
void reset_traps();
void set_handler(unsigned vector, Handler handler);
/// The table that reset_traps() registers: one entry a vector, ended by a zero address.
extern trap_info_t default_trap_table[];
constexpr unsigned kDefaultTraps = 33;

extern "C" {
bool guarded_call(void (*fn)(void*), void* arg, void** resume_sp);
[[noreturn]] void guarded_unwind(void* resume_sp);
[[noreturn]] void iret_to(const TrapFrame* frame, uint64_t flags);
extern const unsigned char iret_returned[];
extern uint64_t failsafe_selectors[4];  // ds es fs gs as the failsafe callback got them
void event_callback();
void failsafe_callback();
void syscall_callback();
void syscall32_callback();
void sysenter_callback();
void trap_soft_stub();
extern const unsigned char trap_stubs[];
}

/// What catch_trap() saw. `taken` is false when the code ran to its end.
struct Trap {
    bool taken = false;
    uint64_t cr2 = 0;
    TrapFrame frame{};

    bool is(unsigned vector) const { return taken && frame.vector == vector; }
    bool is(unsigned vector, uint64_t error) const { return is(vector) && frame.error == error; }
};

Trap catch_trap_call(void (*fn)(void*), void* arg);

/// Runs `code` in guest-kernel mode; the first exception without handler ends it and is returned.
template <typename F>
Trap catch_trap(F code) {
    return catch_trap_call([](void* p) { (*static_cast<F*>(p))(); }, &code);
}

/// Leaves `frame` for user or kernel mode by the iret hypercall; the next exception, syscall or
/// callback without handler comes back as the result.
/// \param flags VGCF_in_syscall to ask for SYSRET, else 0.
Trap enter(const TrapFrame& frame, uint64_t flags = 0);

/// The exception stub of a vector below 32.
inline uint64_t stub_address(unsigned vector) {
    return addr(trap_stubs) + vector * 16;
}

/// The stack on which the hypervisor enters the kernel from user mode while enter() is active.
uint64_t kernel_stack_top();

}  // namespace guest
