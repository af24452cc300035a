// Public advisories (XSA) on traps, returns to the guest and instructions that are emulated.
#include <initializer_list>

#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"
#include "user.hpp"

namespace guest {

USER_CODE(xsa_code_ud2, "ud2");
USER_CODE(xsa_code_syscall, "syscall; ud2");
USER_CODE(xsa_code_sysenter, "sysenter; ud2");
USER_CODE(xsa_code_mov_ss, "mov (%rdi), %ss; syscall; ud2");
USER_CODE(xsa_code_mov_ss_int, "mov (%rdi), %ss; int3; ud2");

TEST(xsa_12_debug_control, "XSA-12: set_debugreg with bits above the 32nd in DR6 and DR7", "") {
    for (const unsigned reg : {6u, 7u})
        CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, reg, 1ul << 32 | 1), -kEINVAL);
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 7, 0), 0);
}

TEST(xsa_444_breakpoint_address, "XSA-444: breakpoints in the hypervisor and at its edges", "") {
    for (unsigned reg = 0; reg < 4; ++reg) {
        for (const uint64_t address :
             {HYPERVISOR_VIRT_START, HYPERVISOR_VIRT_START + (1ul << 40), HYPERVISOR_VIRT_END - 1})
            CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, reg, address), -kEPERM);
        CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, reg, HYPERVISOR_VIRT_END), 0);
        CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, reg, 0), 0);
    }
}

TEST(xsa_204_stepped_syscall, "XSA-204: a syscall under the trap flag: the kernel is not stepped",
     "") {
    TrapFrame frame = user_frame(xsa_code_syscall);
    frame.rflags |= 0x100;
    const Trap trap = run_user(frame);
    CHECK(trap.is(kSyscall) || trap.is(kDebug));
    CHECK(trap.frame.from_user());
    uint64_t now;
    asm volatile("pushf; pop %0" : "=r"(now));
    CHECK_EQ(now & 0x100, 0);
}

TEST(xsa_260_mov_ss, "XSA-260: a watched mov to SS, then the instruction that enters the kernel",
     "") {
    use_user_space();
    *static_cast<uint64_t*>(user_data()) = FLAT_USER_SS;
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 0, kUserData), 0);
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 7, 0x30001), 0);  // reads and writes
    for (const auto* code : {xsa_code_mov_ss, xsa_code_mov_ss_int}) {
        TrapFrame frame = user_frame(code);
        frame.rdi = kUserData;
        const Trap trap = run_user(frame);
        CHECK(trap.is(kSyscall) || trap.is(kDebug) || trap.is(kBreakpoint) ||
              trap.is(kGeneralProtection));
        CHECK(trap.frame.from_user());
    }
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 7, 0), 0);
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 0, 0), 0);
}

TEST(xsa_339_sysenter, "XSA-8, 339: sysenter in user mode of a kernel that has no callback for it",
     "") {
    const Trap trap = run_user(xsa_code_sysenter);
    CHECK(trap.is(kGeneralProtection) || trap.is(kInvalidOpcode));
    CHECK(trap.frame.from_user());
}

namespace {

/// The frame that iret takes, as it lies on the stack (struct iret_context).
void multicall_from(const iret_context* frame, multicall_entry_t* list, unsigned count) {
    asm volatile("mov %[frame], %%rsp\n\tsyscall\n\tud2" ::[frame] "r"(frame),
                 "a"(__HYPERVISOR_multicall), "D"(list), "S"(count)
                 : "memory", "rcx", "r11");
}

}  // namespace

TEST(xsa_213_iret_in_multicall, "XSA-213: an iret within a multicall ends it", "") {
    use_user_space();
    const TrapFrame user = user_frame(xsa_code_ud2);
    static iret_context frame;
    frame = {};
    frame.rip = user.rip;
    frame.cs = user.cs;
    frame.rflags = user.rflags;
    frame.rsp = user.rsp;
    frame.ss = user.ss;
    auto* target = alloc_page();
    static multicall_entry_t list[2];
    list[0] = {.op = __HYPERVISOR_iret};
    list[1] = {.op = __HYPERVISOR_update_va_mapping, .result = 0x7777};
    list[1].args[0] = addr(target);
    list[1].args[2] = UVMF_INVLPG;
    const Trap trap = catch_trap([] { multicall_from(&frame, list, 2); });
    CHECK(trap.is(kInvalidOpcode));
    CHECK(trap.frame.from_user());
    CHECK_EQ(list[1].result, 0x7777);
    *static_cast<uint64_t*>(target) = 1;
}

TEST(xsa_195_bit_offset, "XSA-195: bit instructions on a table entry, with a far bit number", "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    volatile uint64_t* l1 = window.l1;
    CHECK_EQ(window.map(5, pte(mfn_of(page), kReadOnlyFlags)), 0);
    asm volatile("lock btsq %1, (%0)" ::"r"(l1), "r"(5 * 64 + 1l) : "memory");
    CHECK_EQ(l1[0], 0);
    CHECK(l1[5] & kWrite);
    asm volatile("lock btrq %1, (%0)" ::"r"(l1 + 100), "r"(-95 * 64 + 1l) : "memory");
    CHECK(!(l1[5] & kWrite));
    // Far away lies the hypervisor, or nothing.
    for (const uint64_t there : {HYPERVISOR_VIRT_START, HYPERVISOR_VIRT_END - 8}) {
        const auto bit = static_cast<int64_t>(there - addr(l1)) * 8;
        if (bit / 8 != static_cast<int64_t>(there - addr(l1))) continue;
        const Trap trap = catch_trap([&] {
            asm volatile("lock btsq %1, (%0)" ::"r"(l1), "r"(bit) : "memory");
        });
        CHECK(trap.is(kPageFault) || trap.is(kGeneralProtection));
    }
}

TEST(xsa_123_segment_override, "XSA-123: a segment override on a write to a table entry", "") {
    const Window window = open_window();
    auto* page = alloc_page_as<uint64_t>();
    volatile uint64_t* l1 = window.l1;
    const uint64_t value = pte(mfn_of(page), kReadOnlyFlags);
    asm volatile("movq %1, %%cs:(%0)" ::"r"(l1), "r"(value) : "memory");
    CHECK_EQ(mfn_of_pte(l1[0]), mfn_of(page));
}

}  // namespace guest
