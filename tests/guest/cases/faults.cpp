// Exceptions in guest-kernel mode as the guest sees them.
#include "memory.hpp"
#include "platform.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

// Places in the code below that a frame is expected to point at.
extern "C" const unsigned char fault_page_read_rip[], fault_invalid_opcode_rip[],
    fault_breakpoint_rip[], fault_soft_interrupt_rip[];

TEST(fault_page_read, "#PF: not-present read; error code without U in kernel mode, cr2, rip", "") {
    const Trap trap = catch_trap([] {
        asm volatile(".globl fault_page_read_rip\nfault_page_read_rip: movq 0x123456, %%rax" ::
                         : "rax");
    });
    CHECK(trap.is(kPageFault, 0));
    CHECK_EQ(trap.cr2, 0x123456);
    CHECK_EQ(trap.frame.rip, addr(fault_page_read_rip));
    CHECK(!trap.frame.from_user());
    CHECK_EQ(trap.frame.ss & 0xfffc, FLAT_KERNEL_SS & 0xfffc);
}

TEST(fault_page_write_protected, "#PF: write to a read-only page; P and W, never U", "") {
    auto* page = alloc_page_as<volatile uint64_t>();
    remap(const_cast<uint64_t*>(page), pte(mfn_of(page), kReadOnlyFlags));
    const Trap trap = catch_trap([=] { page[5] = 1; });
    CHECK(trap.is(kPageFault, kPfPresent | kPfWrite));
    CHECK_EQ(trap.cr2, addr(&page[5]));
}

TEST(fault_page_no_execute, "#PF: fetch from a no-execute page", "") {
    auto* page = alloc_page_as<unsigned char>();
    *page = 0xc3;
    remap(page, pte(mfn_of(page), kDataFlags | kNoExecute));
    const Trap trap = catch_trap([=] { reinterpret_cast<void (*)()>(page)(); });
    CHECK(trap.is(kPageFault, kPfPresent | kPfFetch));
    CHECK_EQ(trap.frame.rip, addr(page));
    remap(page, pte(mfn_of(page), kDataFlags));
    CHECK(!catch_trap([=] { reinterpret_cast<void (*)()>(page)(); }).taken);
}

TEST(fault_hypervisor_address, "#PF: the hypervisor's addresses, read and write", "") {
    static const Arg places[] = {HYPERVISOR_VIRT_END - 0x1000, HYPERVISOR_VIRT_START + (6ul << 39)};
    for (const Arg place : places) {
        auto* p = reinterpret_cast<volatile uint64_t*>(place);
        const Trap read = catch_trap([=] { *p; });
        CHECK(read.is(kPageFault));
        CHECK_EQ(read.cr2, place);
        CHECK_EQ(read.frame.error & (kPfUser | kPfWrite), 0);
        const Trap write = catch_trap([=] { *p = 1; });
        CHECK(write.is(kPageFault));
        CHECK_EQ(write.frame.error & (kPfUser | kPfWrite), kPfWrite);
    }
}

TEST(fault_m2p_read_only, "#PF: the M2P is readable at its fixed address and not writable", "") {
    auto* entry = &machine_to_phys_mapping[mfn_of(boot_l4())];
    CHECK_EQ(*entry, pfn_of(boot_l4()));
    const Trap trap = catch_trap([=] { *const_cast<volatile unsigned long*>(entry) = 1; });
    CHECK(trap.is(kPageFault, kPfPresent | kPfWrite));
}

TEST(fault_non_canonical, "#GP: a non-canonical address, error code 0", "") {
    const Trap trap = catch_trap([] { *reinterpret_cast<volatile char*>(1ul << 62); });
    CHECK(trap.is(kGeneralProtection, 0));
}

TEST(fault_divide, "#DE: division by zero; resumed behind it by the handler", "") {
    set_handler(kDivide, [](TrapFrame& frame) {
        frame.rax = 0x600d;
        frame.rip += 2;  // divl %ecx
        return true;
    });
    uint32_t result = 1, zero = 0;
    asm volatile("xor %%edx, %%edx; divl %%ecx" : "+a"(result) : "c"(zero) : "rdx");
    CHECK_EQ(result, 0x600d);
}

TEST(fault_invalid_opcode, "#UD: ud2; the frame points at the instruction", "") {
    const Trap trap = catch_trap(
        [] { asm volatile(".globl fault_invalid_opcode_rip\nfault_invalid_opcode_rip: ud2"); });
    CHECK(trap.is(kInvalidOpcode));
    CHECK_EQ(trap.frame.rip, addr(fault_invalid_opcode_rip));
    CHECK(!trap.frame.from_user());  // the kernel sees itself in ring 0
}

TEST(fault_breakpoint, "#BP: int3 in the kernel; the frame points behind it", "") {
    const Trap trap = catch_trap(
        [] { asm volatile("int3\n.globl fault_breakpoint_rip\nfault_breakpoint_rip:"); });
    CHECK(trap.is(kBreakpoint));
    CHECK_EQ(trap.frame.rip, addr(fault_breakpoint_rip));
}

TEST(fault_single_step, "#DB: the trap flag steps one instruction; it is clear in the handler",
     "") {
    static unsigned steps;
    steps = 0;
    set_handler(kDebug, [](TrapFrame& frame) {
        uint64_t now;
        asm volatile("pushf; pop %0" : "=r"(now));
        if (now & 0x100) return false;
        if (++steps == 3) frame.rflags &= ~0x100ul;
        return true;
    });
    asm volatile("pushf; orq $0x100, (%%rsp); popf; nop; nop; nop; nop" ::: "memory", "cc");
    CHECK_EQ(steps, 3);
}

TEST(fault_soft_interrupt, "int $0x80 in the kernel: the trap table's entry", "") {
    const Trap trap = catch_trap([] {
        asm volatile("int $0x80\n.globl fault_soft_interrupt_rip\nfault_soft_interrupt_rip:");
    });
    CHECK(trap.is(kSoft));
    CHECK_EQ(trap.frame.rip, addr(fault_soft_interrupt_rip));
}

TEST(fault_masks_upcalls,
     "trap table: the gate's IF flag masks upcalls, the frame keeps the old mask", "") {
    static unsigned seen_mask, saved_mask;
    set_handler(kPageFault, [](TrapFrame& frame) {
        seen_mask = this_vcpu_masked();
        saved_mask = frame.upcalls_were_masked();
        frame.rip += 8;
        return true;
    });
    set_handler(kInvalidOpcode, [](TrapFrame& frame) {
        seen_mask = this_vcpu_masked();
        saved_mask = frame.upcalls_were_masked();
        frame.rip += 2;
        return true;
    });
    vcpu_info().evtchn_upcall_mask = 0;
    asm volatile(".byte 0x48, 0x8b, 0x04, 0x25; .long 0x123456" ::
                     : "rax", "memory");  // mov 0x123456, %rax
    CHECK_EQ(seen_mask, 1);
    CHECK_EQ(saved_mask, 0);
    CHECK_EQ(this_vcpu_masked(), 0);   // the iret restores it by the flags' IF
    asm volatile("ud2" ::: "memory");  // a gate without the flag
    CHECK_EQ(seen_mask, 0);
    vcpu_info().evtchn_upcall_mask = 1;
    asm volatile("ud2" ::: "memory");
    CHECK_EQ(saved_mask, 1);
    CHECK_EQ(this_vcpu_masked(), 1);
}

TEST(trap_table_replaced, "set_trap_table: one entry replaced; the rest as it was", "") {
    trap_info_t table[2] = {{kInvalidOpcode, 0, FLAT_KERNEL_CS, stub_address(kAlignment)}, {}};
    CHECK_EQ(set_trap_table(table), 0);
    CHECK(catch_trap([] { asm volatile("push $0; ud2"); }).is(kAlignment));
    CHECK(catch_trap([] { asm volatile("int3"); }).is(kBreakpoint));
}

TEST(trap_table_refuses, "set_trap_table: unmapped table, handler outside the canonical range",
     "") {
    CHECK_EQ(hypercall(__HYPERVISOR_set_trap_table, 0x1000), -kEFAULT);
    trap_info_t table[2] = {{kInvalidOpcode, 0, FLAT_KERNEL_CS, 1ul << 60}, {}};
    CHECK_EQ(set_trap_table(table), -kEINVAL);
    CHECK(catch_trap([] { asm volatile("ud2"); }).is(kInvalidOpcode));
}

TEST(crash_no_handler, "set_trap_table(0) clears it; a fault without handler ends the domain",
     "crash") {
    CHECK_EQ(set_trap_table(nullptr), 0);
    announce_end();
    asm volatile("ud2");
}

TEST(crash_no_stack, "a fault whose frame cannot be pushed ends the domain, not the host",
     "crash") {
    announce_end();
    asm volatile("mov $0x2000, %%rsp; ud2" ::: "memory");
}

TEST(crash_hypervisor_stack, "a frame that would lie in the hypervisor's memory ends the domain",
     "crash") {
    announce_end();
    asm volatile("mov %0, %%rsp; ud2" ::"r"(HYPERVISOR_VIRT_START + (5ul << 39)) : "memory");
}

TEST(fault_debug_registers,
     "set_debugreg, get_debugreg: a watched write is #DB; bad values refused", "") {
    static volatile uint64_t watched;
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 0, addr(&watched)), 0);
    CHECK_EQ(static_cast<Arg>(hypercall(__HYPERVISOR_get_debugreg, 0)), addr(&watched));
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 7, 0xd0001 | 0x400),
             0);  // L0, write, eight bytes
    const Trap trap = catch_trap([] { watched = 1; });
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 7, 0), 0);
    CHECK(trap.is(kDebug));
    CHECK_EQ(watched, 1);
    CHECK_EQ(hypercall(__HYPERVISOR_get_debugreg, 6) & 1, 1);
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 0, HYPERVISOR_VIRT_START), -kEPERM);
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 8, 0), -kENODEV);
    CHECK_EQ(hypercall(__HYPERVISOR_get_debugreg, 8), -kENODEV);
    CHECK_EQ(hypercall(__HYPERVISOR_set_debugreg, 0, 0), 0);
}

}  // namespace guest
