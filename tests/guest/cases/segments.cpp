// Segment bases, descriptor tables and the selectors that refer to them.
#include <initializer_list>

#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"
#include "user.hpp"

namespace guest {

namespace {

/// A data segment descriptor: base, limit in bytes (below 1 MiB), DPL, writable, accessed.
constexpr uint64_t data_descriptor(uint32_t base, uint32_t limit, unsigned dpl) {
    uint64_t d = limit & 0xffff;
    d |= static_cast<uint64_t>(base & 0xffffff) << 16;
    d |= (0x93ull | dpl << 5) << 40;
    d |= static_cast<uint64_t>(limit >> 16 & 0xf) << 48;
    d |= 0x4ull << 52;
    d |= static_cast<uint64_t>(base >> 24) << 56;
    return d;
}
constexpr uint64_t kCallGate = 0x00008c0000080000ull | 0x1234;

uint64_t read_fs(Arg offset) {
    uint64_t value;
    asm volatile("movq %%fs:(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}
uint64_t read_gs(Arg offset) {
    uint64_t value;
    asm volatile("movq %%gs:(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}
void load_fs(unsigned selector) {
    asm volatile("movl %0, %%fs" ::"r"(selector));
}

long update_descriptor(const void* place, uint64_t value) {
    return hypercall(__HYPERVISOR_update_descriptor, machine_address(place), value);
}
long set_gdt(uint64_t* frames, unsigned entries) {
    return hypercall(__HYPERVISOR_set_gdt, addr(frames), entries);
}
long set_ldt(const void* table, unsigned entries) {
    mmuext_op_t op = {};
    op.cmd = MMUEXT_SET_LDT;
    op.arg1.linear_addr = addr(table);
    op.arg2.nr_ents = entries;
    return mmuext_op(&op, 1);
}

/// A page below 4 GiB of address space, so that a descriptor's base can reach it.
uint64_t* low_page() {
    static uint64_t* mapped;
    if (mapped) return mapped;
    auto* l3 = alloc_page_as<uint64_t>();
    auto* l2 = alloc_page_as<uint64_t>();
    auto* l1 = alloc_page_as<uint64_t>();
    auto* page = alloc_page_as<uint64_t>();
    l1[0] = pte(mfn_of(page), kDataFlags);
    l2[1] = pte(mfn_of(l1), kTableFlags);
    l3[0] = pte(mfn_of(l2), kTableFlags);
    for (const void* table : {l1, l2, l3}) make_read_only(table);
    CHECK_EQ(write_entry(&boot_l4()[0], pte(mfn_of(l3), kTableFlags)), 0);
    mapped = reinterpret_cast<uint64_t*>(2ul << 20);
    for (unsigned i = 0; i < 512; ++i) mapped[i] = 0xd00d0000 + i;
    return mapped;
}

}  // namespace

TEST(segment_base_fs, "set_segment_base FS: reads go through it; non-canonical refused", "") {
    static const uint64_t words[] = {11, 22, 33};
    CHECK_EQ(set_segment_base(SEGBASE_FS, addr(words)), 0);
    CHECK_EQ(read_fs(8), 22);
    CHECK_EQ(set_segment_base(SEGBASE_FS, 1ul << 60), -kEINVAL);
    CHECK_EQ(read_fs(16), 33);
    CHECK_EQ(set_segment_base(9, 0), -kEINVAL);
    CHECK_EQ(set_segment_base(SEGBASE_FS, 0), 0);
}

USER_CODE(user_read_gs, "movq %gs:8, %rax; syscall");

TEST(segment_base_gs, "set_segment_base GS_KERNEL and GS_USER: swapped at the way to user mode",
     "") {
    static const uint64_t kernel_words[] = {1, 2};
    use_user_space();
    static_cast<uint64_t*>(user_data())[1] = 0x9595;
    CHECK_EQ(set_segment_base(SEGBASE_GS_KERNEL, addr(kernel_words)), 0);
    CHECK_EQ(set_segment_base(SEGBASE_GS_USER, kUserData), 0);
    CHECK_EQ(read_gs(8), 2);
    for (unsigned round = 0; round < 2; ++round) {
        const Trap trap = run_user(user_read_gs);
        CHECK(trap.is(kSyscall));
        CHECK_EQ(trap.frame.rax, 0x9595);
        CHECK_EQ(read_gs(8), 2);
    }
    CHECK_EQ(set_segment_base(SEGBASE_GS_KERNEL, 0), 0);
}

TEST(segment_base_by_wrmsr, "wrmsr FS_BASE, GS_BASE, SHADOW_GS: emulated, rdmsr gives them back",
     "") {
    static const uint64_t words[] = {5, 6};
    for (const uint32_t msr : {0xc0000100u, 0xc0000101u, 0xc0000102u}) {
        const uint64_t base = addr(words);
        asm volatile("wrmsr" ::"c"(msr), "a"(static_cast<uint32_t>(base)),
                     "d"(static_cast<uint32_t>(base >> 32)));
        uint32_t low, high;
        asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
        CHECK_EQ(static_cast<uint64_t>(high) << 32 | low, base);
    }
    CHECK_EQ(read_fs(8), 6);
    CHECK_EQ(read_gs(0), 5);
    const Trap trap =
        catch_trap([] { asm volatile("wrmsr" ::"c"(0xc0000100), "a"(0), "d"(1 << 28)); });
    CHECK(trap.is(kGeneralProtection, 0));
    set_segment_base(SEGBASE_FS, 0);
    set_segment_base(SEGBASE_GS_KERNEL, 0);
    set_segment_base(SEGBASE_GS_USER, 0);
}

TEST(segment_fsgsbase, "wrfsbase: #UD until the guest sets CR4.FSGSBASE, then it works", "") {
    static const uint64_t words[] = {0x77};
    uint64_t back = 0, cr4;
    asm volatile("mov %%cr4, %0" : "=r"(cr4));
    const uint64_t bit = 1ul << 16;
    asm volatile("mov %0, %%cr4" ::"r"(cr4 & ~bit));
    CHECK(catch_trap([] { asm volatile("wrfsbase %0" ::"r"(0ul)); }).is(kInvalidOpcode));
    asm volatile("mov %0, %%cr4" ::"r"(cr4 | bit));
    asm volatile("wrfsbase %1; rdfsbase %0" : "=r"(back) : "r"(addr(words)));
    CHECK_EQ(back, addr(words));
    CHECK_EQ(read_fs(0), 0x77);
    asm volatile("mov %0, %%cr4" ::"r"(cr4));
    set_segment_base(SEGBASE_FS, 0);
}

TEST(gdt_load_and_use, "set_gdt: own descriptors are loaded and their base is used", "") {
    auto* gdt = alloc_page_as<uint64_t>();
    gdt[3] = data_descriptor(static_cast<uint32_t>(addr(low_page())), 0xfff, 3);
    make_read_only(gdt);
    uint64_t frame = mfn_of(gdt);
    CHECK_EQ(set_gdt(&frame, 512), 0);
    load_fs(3 << 3 | 3);
    CHECK_EQ(read_fs(5 * 8), 0xd00d0005);
    load_fs(0);
    // The page is a descriptor page now: not writable.
    CHECK_EQ(update_va_mapping(addr(gdt), pte(mfn_of(gdt), kDataFlags), UVMF_INVLPG), -kEBUSY);
    CHECK_EQ(set_gdt(&frame, 0), 0);
    make_writable(gdt);
}

TEST(gdt_refuses, "set_gdt: a writable page, a gate inside, too many entries, a bad frame", "") {
    auto* gdt = alloc_page_as<uint64_t>();
    uint64_t frame = mfn_of(gdt);
    CHECK_EQ(set_gdt(&frame, 512), -kEINVAL);
    gdt[7] = kCallGate & ~0xfff8ul;
    make_read_only(gdt);
    CHECK_EQ(set_gdt(&frame, FIRST_RESERVED_GDT_ENTRY + 1), -kEINVAL);
    uint64_t bad = 0xffffffffful;
    CHECK_EQ(set_gdt(&bad, 512), -kEINVAL);
    CHECK_EQ(hypercall(__HYPERVISOR_set_gdt, 0x1000, 512), -kEFAULT);
    make_writable(gdt);
    gdt[7] = 0x0000e90000000000ull;  // an available TSS: a system descriptor
    make_read_only(gdt);
    CHECK_EQ(set_gdt(&frame, 512), -kEINVAL);
    make_writable(gdt);
}

TEST(gdt_descriptor_dpl, "set_gdt: descriptors of DPL 0 and 1 are raised to 3", "") {
    auto* gdt = alloc_page_as<uint64_t>();
    gdt[4] = data_descriptor(0, 0xfff, 0);
    gdt[5] = data_descriptor(0, 0xfff, 1);
    make_read_only(gdt);
    uint64_t frame = mfn_of(gdt);
    CHECK_EQ(set_gdt(&frame, 512), 0);
    CHECK_EQ(gdt[4] >> 45 & 3, 3);
    CHECK_EQ(gdt[5] >> 45 & 3, 3);
    CHECK_EQ(set_gdt(&frame, 0), 0);
    make_writable(gdt);
}

TEST(descriptor_update, "update_descriptor: in a GDT in use, a gate refused, misaligned refused",
     "") {
    auto* gdt = alloc_page_as<uint64_t>();
    make_read_only(gdt);
    uint64_t frame = mfn_of(gdt);
    CHECK_EQ(set_gdt(&frame, 512), 0);
    const uint64_t good = data_descriptor(static_cast<uint32_t>(addr(low_page())), 0xfff, 3);
    CHECK_EQ(update_descriptor(&gdt[9], good), 0);
    load_fs(9 << 3 | 3);
    CHECK_EQ(read_fs(16), 0xd00d0002);
    load_fs(0);
    CHECK_EQ(update_descriptor(&gdt[9], 0x0000e90000000000ull), -kEINVAL);
    CHECK_EQ(hypercall(__HYPERVISOR_update_descriptor, machine_address(&gdt[9]) + 4, good),
             -kEINVAL);
    CHECK_EQ(hypercall(__HYPERVISOR_update_descriptor, 0xffffffffful << 12, good), -kEINVAL);
    CHECK_EQ(gdt[9] & ~(1ull << 40), good & ~(1ull << 40));
    CHECK_EQ(set_gdt(&frame, 0), 0);
    make_writable(gdt);
}

TEST(ldt_lazy_fault, "MMUEXT_SET_LDT: its pages are faulted in at first use", "") {
    auto* ldt = static_cast<uint64_t*>(alloc_pages(2));
    ldt[1] = data_descriptor(static_cast<uint32_t>(addr(low_page())), 0xfff, 3);
    ldt[600] = data_descriptor(static_cast<uint32_t>(addr(low_page())) + 64, 0xfff, 3);
    make_read_only(ldt);
    make_read_only(ldt + 512);
    CHECK_EQ(set_ldt(ldt, 1024), 0);
    load_fs(1 << 3 | 7);
    CHECK_EQ(read_fs(0), 0xd00d0000);
    load_fs(600 << 3 | 7);
    CHECK_EQ(read_fs(0), 0xd00d0008);
    load_fs(0);
    CHECK_EQ(set_ldt(nullptr, 0), 0);
    CHECK(catch_trap([] { load_fs(1 << 3 | 7); }).is(kGeneralProtection));
    make_writable(ldt);
    make_writable(ldt + 512);
}

TEST(ldt_refuses, "MMUEXT_SET_LDT: unaligned, too long; a writable page faults at its use", "") {
    auto* ldt = alloc_page_as<uint64_t>();
    CHECK_EQ(set_ldt(reinterpret_cast<char*>(ldt) + 8, 10), -kEINVAL);
    CHECK_EQ(set_ldt(ldt, 8193), -kEINVAL);
    CHECK_EQ(set_ldt(reinterpret_cast<void*>(HYPERVISOR_VIRT_START), 512), -kEINVAL);
    ldt[1] = data_descriptor(0, 0xfff, 3);
    CHECK_EQ(set_ldt(ldt, 512), 0);
    const Trap trap = catch_trap([] { load_fs(1 << 3 | 7); });
    CHECK(trap.is(kPageFault));
    CHECK_EQ(trap.cr2, addr(&ldt[1]) & ~7ul);
    CHECK_EQ(set_ldt(nullptr, 0), 0);
}

TEST(selector_bad_load, "#GP: a selector beyond the table, with the selector as error code", "") {
    const Trap trap = catch_trap([] { load_fs(0x2003); });
    CHECK(trap.is(kGeneralProtection, 0x2000));
}

TEST(selector_flat_segments, "the hypervisor's flat selectors load in the guest's kernel", "") {
    for (const unsigned selector : {FLAT_RING3_DS32, FLAT_RING3_SS32}) {
        asm volatile("movl %0, %%ds; movl %0, %%es" ::"r"(selector));
        CHECK(!catch_trap([=] { load_fs(selector); }).taken);
    }
    asm volatile("movl %0, %%ds; movl %0, %%es" ::"r"(0));
    load_fs(0);
}

USER_CODE(user_trap_here, "ud2");

TEST(stack_switch_takes_effect, "stack_switch: the next entry from user mode lands on it", "") {
    alignas(16) static unsigned char stack[8192];
    static uint64_t handler_sp;
    CHECK_EQ(stack_switch(FLAT_KERNEL_SS, addr(stack + sizeof stack)), 0);
    set_handler(kInvalidOpcode, [](TrapFrame& frame) {
        handler_sp = addr(&frame);
        return false;
    });
    CHECK(run_user(user_trap_here).is(kInvalidOpcode));
    CHECK_EQ(handler_sp + sizeof(TrapFrame), addr(stack + sizeof stack));
}

USER_CODE(user_compat, ".code32; mov $0x87654321, %eax; int $0x80; hlt; .code64");

TEST(user_compat_mode, "32-bit user code: iret to FLAT_USER_CS32, int 0x80 back", "") {
    TrapFrame frame = user_frame(user_compat);
    frame.cs = FLAT_USER_CS32;
    frame.ss = FLAT_USER_SS32;
    const Trap trap = run_user(frame);
    CHECK(trap.is(kSoft));
    CHECK_EQ(trap.frame.rax, 0x87654321);
    CHECK_EQ(trap.frame.cs_selector(), FLAT_USER_CS32);
}

USER_CODE(user_read_selector, "xor %eax, %eax; mov %gs, %eax; syscall");

TEST(user_gs_selector, "set_segment_base GS_USER_SEL: the selector that user mode finds", "") {
    CHECK_EQ(set_segment_base(SEGBASE_GS_USER_SEL, FLAT_RING3_DS32), 0);
    const Trap trap = run_user(user_read_selector);
    CHECK(trap.is(kSyscall));
    CHECK_EQ(trap.frame.rax, FLAT_RING3_DS32);
    CHECK_EQ(set_segment_base(SEGBASE_GS_USER_SEL, 0), 0);
}

}  // namespace guest
