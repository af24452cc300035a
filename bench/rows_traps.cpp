// Ways in and out of the guest that are no hypercall of their own: iret, exceptions and system
// calls bounced to the guest's kernel, and a timer's interrupt.
#include "events.hpp"
#include "measure.hpp"
#include "memory.hpp"
#include "platform.hpp"
#include "traps.hpp"
#include "user.hpp"

extern "C" {
uint32_t time_iret(uint16_t cs, uint16_t ss);
uint32_t time_page_fault(uint64_t address);
uint32_t time_page_fault_and_back(uint64_t address);
void probe_paths();
extern const unsigned char page_fault_entry[], page_fault_back_entry[], system_call_entry[];
}

namespace guest {

TEST(iret, "the iret hypercall, kernel mode to kernel mode", "") {
    report("iret", net([] { return time_iret(FLAT_KERNEL_CS & ~3, FLAT_KERNEL_SS & ~3); }));
}

TEST(page_fault, "#PF bounced to the guest's handler; and back by iret", "") {
    trap_info_t table[2] = {{kPageFault, 4, FLAT_KERNEL_CS, addr(page_fault_entry)}, {}};
    CHECK_EQ(set_trap_table(table), 0);
    report("page_fault_bounced", net([] { return time_page_fault(0x1000); }));
    table[0].address = addr(page_fault_back_entry);
    CHECK_EQ(set_trap_table(table), 0);
    report("page_fault_and_back", net([] { return time_page_fault_and_back(0x1000); }));
}

// Times 1,000 system calls and leaves the readings at kUserData (rdi).
USER_CODE(user_timed_calls,
          "mov $1000, %ebp\n"
          "1: rdtsc; mov %eax, %ebx; syscall; rdtsc; sub %ebx, %eax; stosl\n"
          "dec %ebp; jnz 1b; ud2");

TEST(system_call, "a system call: from user mode to the kernel's callback, and back by iret", "") {
    static uint32_t samples[kRounds];
    callback_register_t request = {.type = CALLBACKTYPE_syscall,
                                   .flags = CALLBACKF_mask_events,
                                   .address = addr(system_call_entry)};
    CHECK_EQ(callback_op(CALLBACKOP_register, &request), 0);
    for (unsigned run = 0; run < 2; ++run) {
        TrapFrame frame = user_frame(user_timed_calls);
        frame.rdi = kUserData;
        CHECK(run_user(frame).is(kInvalidOpcode));
        memcpy(&samples[run * 1000], user_data(), 4000);
    }
    report("system_call", summarise(samples), 2);  // a mov, and the second rdtsc
}

TEST(pin_table, "an L1 table with 512 entries: checked and pinned, unpinned", "") {
    auto* table = alloc_page_as<uint64_t>();
    const uint64_t data = mfn_of(alloc_page());
    for (unsigned i = 0; i < 512; ++i) table[i] = pte(data, kDataFlags);
    make_read_only(table);
    static mmuext_op_t ops[2];
    ops[0].cmd = MMUEXT_PIN_L1_TABLE;
    ops[1].cmd = MMUEXT_UNPIN_TABLE;
    ops[0].arg1.mfn = ops[1].arg1.mfn = mfn_of(table);
    const auto time = [](unsigned which) {
        const uint32_t ticks =
            time_hypercall(__HYPERVISOR_mmuext_op, addr(&ops[which]), 1, 0, DOMID_SELF);
        if (last_result) fail("mmuext_op: %ld", last_result);
        return ticks;
    };
    report("pin_table", net([=] {
               const uint32_t ticks = time(0);
               time(1);
               return ticks;
           }));
    report("unpin_table", net([=] {
               time(0);
               return time(1);
           }));
}

TEST(timer, "the timer's interrupt while the guest runs, with the upcall masked", "") {
    const Port port = bind_virq(VIRQ_TIMER);
    report("timer_interrupt", measure([=] {
               clear_pending(port);
               hypercall(__HYPERVISOR_set_timer_op, system_time() + 20'000);
               // The interrupt makes one pair of readings lie apart, before the event shows.
               uint64_t last = rdtsc(), usual = ~0ul, longest = 0;
               for (unsigned after = 0; after < 2; after += pending(port)) {
                   const uint64_t now = rdtsc();
                   const uint64_t gap = now - last;
                   last = now;
                   if (gap < usual) usual = gap;
                   if (gap > longest) longest = gap;
               }
               return static_cast<uint32_t>(longest - usual);
           }));
    CHECK_EQ(close_port(port), 0);
}

TEST(defences, "a hypercall and a fault for who looks at the machine from outside (defences.py)",
     "") {
    const auto cpuid = [](uint32_t leaf) {
        struct {
            uint32_t a, b, c, d;
        } r;
        asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "0"(leaf), "2"(0));
        return r;
    };
    print("CPUID 7c %x 7d %x 8b %x\n", cpuid(7).c, cpuid(7).d, cpuid(0x80000008).b);
    probe_paths();
}

}  // namespace guest
