#include "platform.hpp"

#include "memory.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

start_info_t* start_info;

namespace {

alignas(kPageSize) unsigned char shared_info_page[kPageSize];
vcpu_info_t* boot_vcpu_info;
alignas(16) unsigned char second_stack[16384];
vcpu_guest_context_t second_context;
bool second_initialised;
void (*volatile second_entry)();

/// vCPU 1 for ever: one piece of work, then down until the next VCPUOP_up.
[[noreturn]] void second_main() {
    shared_info().vcpu_info[1].evtchn_upcall_mask = 1;
    for (;;) {
        second_entry();
        vcpu_op(VCPUOP_down, 1);
    }
}

}  // namespace

void init_platform(start_info_t* info) {
    start_info = info;
    update_va_mapping(addr(shared_info_page), pte(info->shared_info >> 12, kDataFlags),
                      UVMF_INVLPG);
    boot_vcpu_info = &shared_info().vcpu_info[0];
}

shared_info_t& shared_info() {
    return *reinterpret_cast<shared_info_t*>(shared_info_page);
}
volatile vcpu_info_t& vcpu_info() {
    return *boot_vcpu_info;
}
void set_vcpu_info(vcpu_info_t* moved) {
    boot_vcpu_info = moved;
}

const char* option(const char* key) {
    const size_t length = strlen(key);
    for (const char* p = reinterpret_cast<const char*>(start_info->cmd_line); *p;) {
        if (!strncmp(p, key, length) && p[length] == '=') return p + length + 1;
        while (*p && *p != ' ') ++p;
        while (*p == ' ') ++p;
    }
    return nullptr;
}

uint64_t system_time(const volatile vcpu_time_info_t& area) {
    for (;;) {
        const uint32_t version = area.version;
        asm volatile("lfence" ::: "memory");
        uint64_t delta = rdtsc() - area.tsc_timestamp;
        const int shift = area.tsc_shift;
        delta = shift < 0 ? delta >> -shift : delta << shift;
        const auto scaled = static_cast<unsigned __int128>(delta) * area.tsc_to_system_mul;
        const uint64_t now = area.system_time + static_cast<uint64_t>(scaled >> 32);
        asm volatile("lfence" ::: "memory");
        if (!(version & 1) && version == area.version) return now;
    }
}

uint64_t system_time() {
    return system_time(vcpu_info().time);
}

void second_vcpu_context(vcpu_guest_context_t& context, void (*entry)()) {
    memset(&context, 0, sizeof context);
    context.flags = VGCF_IN_KERNEL | VGCF_failsafe_disables_events | VGCF_syscall_disables_events;
    context.user_regs.rip = addr(reinterpret_cast<void*>(entry));
    // As after a call: the compiler expects rsp + 8 to be a multiple of 16 at a function's start.
    context.user_regs.rsp = addr(second_stack + sizeof second_stack) - 8;
    context.user_regs.cs = FLAT_KERNEL_CS;
    context.user_regs.ss = FLAT_KERNEL_SS;
    context.user_regs.rflags = 0x1000;  // IOPL 1, as Linux starts its vCPUs
    memcpy(context.trap_ctxt, default_trap_table, sizeof(trap_info_t) * kDefaultTraps);
    context.kernel_ss = FLAT_KERNEL_SS;
    context.kernel_sp = context.user_regs.rsp;
    context.event_callback_eip = addr(reinterpret_cast<void*>(event_callback));
    context.failsafe_callback_eip = addr(reinterpret_cast<void*>(failsafe_callback));
    context.syscall_callback_eip = addr(reinterpret_cast<void*>(syscall_callback));
    context.ctrlreg[3] = xen_pfn_to_cr3(mfn_of(boot_l4()));
}

void start_second_vcpu(void (*entry)()) {
    CHECK(wait_for([] { return !second_initialised || vcpu_op(VCPUOP_is_up, 1) == 0; }));
    second_entry = entry;
    if (!second_initialised) {
        second_vcpu_context(second_context, second_main);
        CHECK_EQ(vcpu_op(VCPUOP_initialise, 1, &second_context), 0);
        second_initialised = true;
    }
    CHECK_EQ(vcpu_op(VCPUOP_up, 1), 0);
}

bool on_boot_vcpu() {
    const Arg sp = addr(__builtin_frame_address(0));
    return sp < addr(second_stack) || sp >= addr(second_stack + sizeof second_stack);
}

}  // namespace guest
