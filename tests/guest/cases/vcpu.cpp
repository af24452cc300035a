// vcpu_op: starting and stopping vCPUs, and where the hypervisor keeps what they read.
#include "events.hpp"
#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {
long register_info(uint64_t mfn, uint32_t offset, unsigned vcpu = 0) {
    vcpu_register_vcpu_info_t area = {.mfn = mfn, .offset = offset};
    return vcpu_op(VCPUOP_register_vcpu_info, vcpu, &area);
}
}  // namespace

TEST(vcpu_start_stop, "VCPUOP_initialise, up, is_up, down: runs, stops, runs on", "vcpus=2") {
    static volatile unsigned runs;
    runs = 0;
    CHECK_EQ(vcpu_op(VCPUOP_is_up, 0), 1);
    for (unsigned i = 1; i <= 3; ++i) {
        start_second_vcpu([] { runs = runs + 1; });
        CHECK(wait_for([=] { return runs == i; }));
        CHECK(wait_for([] { return vcpu_op(VCPUOP_is_up, 1) == 0; }));
    }
}

TEST(vcpu_initialise_refuses, "VCPUOP_initialise: twice, no such vCPU, a context that cannot be",
     "vcpus=2;own-boot") {
    static vcpu_guest_context_t context;
    CHECK_EQ(vcpu_op(VCPUOP_up, 1), -kEINVAL);
    CHECK_EQ(vcpu_op(VCPUOP_is_up, 1), 0);
    CHECK_EQ(vcpu_op(VCPUOP_initialise, 5, &context), -kENOENT);
    CHECK_EQ(hypercall(__HYPERVISOR_vcpu_op, VCPUOP_initialise, 1, 0x1000), -kEFAULT);
    second_vcpu_context(context, [] { vcpu_op(VCPUOP_down, 1); });
    context.ctrlreg[3] = xen_pfn_to_cr3(mfn_of(alloc_page()));  // mapped writable: no L4
    CHECK(vcpu_op(VCPUOP_initialise, 1, &context) < 0);
    context.ctrlreg[3] = xen_pfn_to_cr3(mfn_of(boot_l4()));
    context.gdt_ents = FIRST_RESERVED_GDT_ENTRY + 1;
    CHECK_EQ(vcpu_op(VCPUOP_initialise, 1, &context), -kEINVAL);
    context.gdt_ents = 0;
    CHECK_EQ(vcpu_op(VCPUOP_initialise, 1, &context), 0);
    CHECK_EQ(vcpu_op(VCPUOP_initialise, 1, &context), -kEEXIST);
    CHECK_EQ(vcpu_op(VCPUOP_up, 1), 0);
    CHECK(wait_for([] { return vcpu_op(VCPUOP_is_up, 1) == 0; }));
    CHECK_EQ(vcpu_op(77, 0), -kENOSYS);
}

TEST(vcpu_context_registers, "VCPUOP_initialise: registers, segment bases and flags arrive",
     "vcpus=2;own-boot") {
    static vcpu_guest_context_t context;
    static volatile uint64_t seen[4];
    static uint64_t words[2] = {0xf5, 0x65};
    second_vcpu_context(context, [] {
        uint64_t r12, fs, gs, flags;
        asm volatile("mov %%r12, %0; mov %%fs:0, %1; mov %%gs:0, %2; pushf; pop %3"
                     : "=r"(r12), "=r"(fs), "=r"(gs), "=r"(flags));
        seen[1] = fs;
        seen[2] = gs;
        seen[3] = flags;
        seen[0] = r12;
        for (;;) vcpu_op(VCPUOP_down, 1);
    });
    context.user_regs.r12 = 0x121212;
    context.fs_base = addr(&words[0]);
    context.gs_base_kernel = addr(&words[1]);
    context.user_regs.rflags |= 1;
    CHECK_EQ(vcpu_op(VCPUOP_initialise, 1, &context), 0);
    CHECK_EQ(vcpu_op(VCPUOP_up, 1), 0);
    CHECK(wait_for([] { return seen[0] != 0; }));
    CHECK_EQ(seen[1], 0xf5);
    CHECK_EQ(seen[2], 0x65);
    CHECK(seen[3] & 0x200);
}

TEST(vcpu_info_moves, "VCPUOP_register_vcpu_info: the area moves once, all events marked pending",
     "own-boot") {
    auto* page = alloc_page_as<unsigned char>();
    const uint64_t mfn = mfn_of(page);
    CHECK_EQ(register_info(mfn, 4096 - 32), -kENXIO);
    CHECK_EQ(register_info(mfn, 64 + 1), -kENXIO);
    CHECK_EQ(register_info(0xffffffffful, 0), -kEINVAL);
    CHECK_EQ(register_info(mfn, 128, 9), -kENOENT);
    CHECK_EQ(register_info(mfn, 128), 0);
    auto* moved = reinterpret_cast<vcpu_info_t*>(page + 128);
    set_vcpu_info(moved);
    compiler_barrier();
    CHECK_EQ(moved->evtchn_upcall_mask, 1);
    CHECK_EQ(moved->evtchn_upcall_pending, 1);
    CHECK_EQ(moved->evtchn_pending_sel, ~0ul);
    CHECK(moved->time.tsc_to_system_mul);
    CHECK_EQ(register_info(mfn, 256), -kEINVAL);
    clear_all_pending();
    const Port port = bind_ipi();
    CHECK_EQ(send_event(port), 0);
    CHECK_EQ(moved->evtchn_upcall_pending, 1);
    // The page is held as writable: it cannot become a page table.
    CHECK_EQ(update_va_mapping(addr(page), pte(mfn, kReadOnlyFlags), UVMF_INVLPG), 0);
    const long pinned = mmuext(MMUEXT_PIN_L1_TABLE, mfn);
    make_writable(page);
    CHECK_EQ(pinned, -kEINVAL);
}

namespace {
/// Polls for 20 ms until one poll was really spent blocked: on a busy machine the time may be over
/// before the call is made.
template <typename F>
bool blocks_for_15_ms(F blocked_time) {
    for (unsigned i = 0; i < 10; ++i) {
        const uint64_t before = blocked_time();
        sched_poll_t poll = {.nr_ports = 0, .timeout = system_time() + 20'000'000};
        CHECK_EQ(sched_op(SCHEDOP_poll, &poll), 0);
        if (blocked_time() - before >= 15'000'000) return true;
    }
    return false;
}
}  // namespace

TEST(vcpu_runstate, "VCPUOP_get_runstate_info: running; blocked time grows over a block", "") {
    vcpu_runstate_info_t before = {}, after = {};
    CHECK_EQ(vcpu_op(VCPUOP_get_runstate_info, 0, &before), 0);
    CHECK_EQ(before.state, RUNSTATE_running);
    CHECK(before.state_entry_time <= system_time());
    CHECK(blocks_for_15_ms([&] {
        CHECK_EQ(vcpu_op(VCPUOP_get_runstate_info, 0, &after), 0);
        return after.time[RUNSTATE_blocked];
    }));
    CHECK(after.time[RUNSTATE_running] >= before.time[RUNSTATE_running]);
    CHECK_EQ(after.time[RUNSTATE_offline], before.time[RUNSTATE_offline]);
}

TEST(vcpu_runstate_area, "VCPUOP_register_runstate_memory_area: kept by the hypervisor; taken away",
     "") {
    static volatile vcpu_runstate_info_t area;
    vcpu_register_runstate_memory_area_t where = {};
    where.addr.v = const_cast<vcpu_runstate_info_t*>(&area);
    CHECK_EQ(vcpu_op(VCPUOP_register_runstate_memory_area, 0, &where), 0);
    CHECK_EQ(area.state, RUNSTATE_running);
    CHECK(blocks_for_15_ms([] { return area.time[RUNSTATE_blocked]; }));
    CHECK_EQ(area.state, RUNSTATE_running);
    CHECK_EQ(area.state_entry_time & XEN_RUNSTATE_UPDATE, 0);
    where.addr.v = nullptr;
    CHECK_EQ(vcpu_op(VCPUOP_register_runstate_memory_area, 0, &where), 0);
}

TEST(vcpu_get_physid_pinned, "VCPUOP_get_physid with dom0_vcpus_pin: the APIC and ACPI id",
     "args=dom0_vcpus_pin") {
    vcpu_get_physid_t id = {.phys_id = ~0ul};
    CHECK_EQ(vcpu_op(VCPUOP_get_physid, 0, &id), 0);
    CHECK_EQ(xen_vcpu_physid_to_x86_apicid(id.phys_id), 0);
}

TEST(vcpu_send_nmi, "VCPUOP_send_nmi and the NMI callback, upcalls masked or not", "") {
    static unsigned seen;
    seen = 0;
    CHECK_EQ(hypercall(__HYPERVISOR_nmi_op, XENNMI_unregister_callback), 0);
    xennmi_callback_t callback = {.handler_address = stub_address(kNmi)};
    CHECK_EQ(hypercall(__HYPERVISOR_nmi_op, XENNMI_register_callback, addr(&callback)), 0);
    set_handler(kNmi, [](TrapFrame&) {
        ++seen;
        return true;
    });
    CHECK_EQ(vcpu_op(VCPUOP_send_nmi, 0), 0);
    xen_version(XENVER_version);
    CHECK_EQ(seen, 1);
    CHECK_EQ(hypercall(__HYPERVISOR_nmi_op, XENNMI_unregister_callback), 0);
    CHECK_EQ(vcpu_op(VCPUOP_send_nmi, 9), -kENOENT);
}

TEST(vcpu_nmi_by_trap_table, "an NMI goes to entry 2 of the trap table; without it, it is lost",
     "") {
    static unsigned seen;
    seen = 0;
    set_handler(kNmi, [](TrapFrame&) {
        ++seen;
        return true;
    });
    const trap_info_t table[] = {
        {.vector = kNmi, .flags = 4, .cs = FLAT_KERNEL_CS, .address = stub_address(kNmi)}, {}};
    CHECK_EQ(set_trap_table(table), 0);
    CHECK_EQ(vcpu_op(VCPUOP_send_nmi, 0), 0);
    xen_version(XENVER_version);
    CHECK_EQ(seen, 1);
    // The callback is that entry.
    CHECK_EQ(hypercall(__HYPERVISOR_nmi_op, XENNMI_unregister_callback), 0);
    CHECK_EQ(vcpu_op(VCPUOP_send_nmi, 0), 0);
    xen_version(XENVER_version);
    CHECK_EQ(set_trap_table(table), 0);
    xen_version(XENVER_version);
    CHECK_EQ(seen, 1);
    CHECK_EQ(hypercall(__HYPERVISOR_nmi_op, XENNMI_unregister_callback), 0);
}

TEST(vcpu_many_switches, "context switch: registers and segment bases of two vCPUs stay apart",
     "vcpus=2") {
    static volatile unsigned rounds;
    static volatile bool broken;
    static uint64_t fs_one[1] = {1}, fs_two[1] = {2};
    rounds = 0;
    CHECK_EQ(set_segment_base(SEGBASE_FS, addr(fs_one)), 0);
    start_second_vcpu([] {
        set_segment_base(SEGBASE_FS, addr(fs_two));
        for (unsigned i = 0; i < 200; ++i) {
            uint64_t seen;
            asm volatile("mov %%fs:0, %0" : "=r"(seen));
            if (seen != 2) broken = true;
            rounds = i + 1;
            sched_op(SCHEDOP_yield);
        }
    });
    while (rounds < 200 && !broken) {
        uint64_t seen;
        asm volatile("mov %%fs:0, %0" : "=r"(seen));
        CHECK_EQ(seen, 1);
        sched_op(SCHEDOP_yield);
    }
    CHECK(!broken);
    CHECK_EQ(set_segment_base(SEGBASE_FS, 0), 0);
}

TEST(vcpu_failsafe, "failsafe callback: a selector that is gone when the vCPU is switched back in",
     "vcpus=2") {
    // An LDT selector in fs, then the LDT goes: the next switch cannot load it.
    auto* ldt = alloc_page_as<uint64_t>();
    ldt[1] = 0x00cff3000000ffff;
    make_read_only(ldt);
    mmuext_op_t op = {};
    op.cmd = MMUEXT_SET_LDT;
    op.arg1.linear_addr = addr(ldt);
    op.arg2.nr_ents = 512;
    CHECK_EQ(mmuext_op(&op, 1), 0);
    asm volatile("mov %0, %%fs" ::"r"(1 << 3 | 7));
    static volatile bool ran;
    ran = false;
    const Trap trap = catch_trap([&] {
        start_second_vcpu([] {
            for (unsigned i = 0; i < 50; ++i) sched_op(SCHEDOP_yield);
            ran = true;
        });
        op.arg2.nr_ents = 0;
        op.arg1.linear_addr = 0;
        mmuext_op(&op, 1);
        wait_for([] { return false; }, 100'000'000);
    });
    asm volatile("mov %0, %%fs" ::"r"(0));
    CHECK(wait_for([] { return ran; }));
    CHECK(trap.is(kFailsafe));
    CHECK_EQ(failsafe_selectors[2] & 0xffff, 1 << 3 | 7);
    CHECK(!trap.frame.from_user());
}

}  // namespace guest
