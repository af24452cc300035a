// A PV guest of one page that ends as it is told on its console: a digit of SHUTDOWN_* (sched.h),
// `w` by a watchdog, `f` by a fault. It comes up in no time and is dumped in no time, unlike Linux.
#include <stddef.h>
#include <stdint.h>

// Without it the names in <xen/xen.h> have their oldest meaning: sched_op is sched_op_compat.
#define __XEN_INTERFACE_VERSION__ 0x00040e00
#include <xen/xen.h>

#include <xen/event_channel.h>
#include <xen/io/console.h>
#include <xen/sched.h>

// xen/elfnote.h: 1 entry, 3 start of the virtual address space, 4 what physical addresses in this
// file are relative to, 5 version, 6 the guest's name, 8 the loader that it is made for.
asm(R"(
    .macro note type value:vararg
    .balign 4
    .long 4, 2f - 1f, \type
    .asciz "Xen"
1:  \value
2:
    .endm
    .section .note.Xen, "", @note
    note 1, .quad _start
    note 3, .quad 0xffffffff80000000
    note 4, .quad 0xffffffff80000000
    note 5, .asciz "xen-3.0"
    note 6, .asciz "obedient"
    note 8, .asciz "generic"
    .text
    .globl _start
_start:
    mov %rsi, %rdi
    call obey
)");

namespace {

constexpr uint64_t kBase = 0xffffffff80000000;  // of the initial mapping, where pages lie in order
constexpr size_t kEntries = 512;

alignas(4096) char shared_info_page[4096];
alignas(4096) uint64_t frame_list[kEntries];
alignas(4096) uint64_t list_of_lists[kEntries];

shared_info& shared() {
    return *reinterpret_cast<shared_info*>(shared_info_page);
}

long hypercall(long number, long a, long b = 0, long c = 0) {
    asm volatile("syscall"
                 : "+a"(number), "+D"(a), "+S"(b), "+d"(c)
                 :
                 : "rcx", "r11", "r10", "r8", "memory");
    return number;
}

void map_shared_info(const start_info* start) {
    constexpr long kPresentWritable = 3;
    hypercall(__HYPERVISOR_update_va_mapping, reinterpret_cast<long>(shared_info_page),
              static_cast<long>(start->shared_info) | kPresentWritable, UVMF_INVLPG);
}

/// Tells the tools, for a dump, where this guest keeps which frames are its own.
void publish_frames(const start_info* start) {
    const auto* frames = reinterpret_cast<const uint64_t*>(start->mfn_list);
    const auto frame_of = [&](const void* page) {
        return frames[(reinterpret_cast<uint64_t>(page) - kBase) / 4096];
    };
    for (size_t n = 0; n * kEntries < start->nr_pages; ++n)
        frame_list[n] = frame_of(frames + n * kEntries);
    list_of_lists[0] = frame_of(frame_list);
    shared().arch.pfn_to_mfn_frame_list_list = frame_of(list_of_lists);
    shared().arch.max_pfn = start->nr_pages;
}

xencons_interface* console_of(const start_info* start) {
    const auto* m2p = reinterpret_cast<const uint64_t*>(0xffff800000000000);
    return reinterpret_cast<xencons_interface*>(kBase + m2p[start->console.domU.mfn] * 4096);
}

void wait_for(evtchn_port_t port) {
    sched_poll poll{};
    set_xen_guest_handle(poll.ports, &port);
    poll.nr_ports = 1;
    hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, reinterpret_cast<long>(&poll));
    __atomic_and_fetch(&shared().evtchn_pending[port / 64], ~(1ul << port % 64), __ATOMIC_SEQ_CST);
}

void end_by(char how) {
    if (how == 'f') asm("ud2");
    if (how == 'w') {
        sched_watchdog watchdog{0, 1};  // a new one, of one second
        hypercall(__HYPERVISOR_sched_op, SCHEDOP_watchdog, reinterpret_cast<long>(&watchdog));
        return;
    }
    sched_shutdown shutdown{static_cast<unsigned>(how - '0')};
    hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, reinterpret_cast<long>(&shutdown));
}

}  // namespace

extern "C" [[noreturn]] void obey(const start_info* start) {
    map_shared_info(start);
    publish_frames(start);
    xencons_interface* console = console_of(start);
    for (;;) {
        while (console->in_cons == __atomic_load_n(&console->in_prod, __ATOMIC_ACQUIRE))
            wait_for(start->console.domU.evtchn);
        end_by(console->in[MASK_XENCONS_IDX(console->in_cons++, console->in)]);
    }
}
