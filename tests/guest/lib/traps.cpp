#include "traps.hpp"

#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"

namespace guest {
namespace {

/// A point that an exception may unwind to; they nest as the calls do.
struct Guard {
    void* resume_sp = nullptr;
    Trap trap{};
    Guard* outer = nullptr;
};

Guard* innermost;
Handler handlers[kVectors];
alignas(16) unsigned char trap_stack[16384];

void leave_by(Guard& guard, const TrapFrame& frame) {
    guard.trap = {.taken = true, .cr2 = vcpu_info().arch.cr2, .frame = frame};
    guarded_unwind(guard.resume_sp);
}

}  // namespace

trap_info_t default_trap_table[kDefaultTraps + 1];

void set_handler(unsigned vector, Handler handler) {
    handlers[vector] = handler;
}

uint64_t kernel_stack_top() {
    return addr(trap_stack + sizeof trap_stack);
}

static void register_callback(unsigned type, void (*entry)(), unsigned flags) {
    callback_register_t request = {.type = static_cast<uint16_t>(type),
                                   .flags = static_cast<uint16_t>(flags),
                                   .address = addr(reinterpret_cast<void*>(entry))};
    callback_op(CALLBACKOP_register, &request);
}

void reset_traps() {
    vcpu_info().evtchn_upcall_mask = 1;
    for (Handler& handler : handlers) handler = nullptr;
    for (unsigned vector = 0; vector < 32; ++vector) {
        // #BP and #OF are for user mode to raise; #PF masks upcalls so that cr2 is read in peace.
        uint8_t flags = vector == kBreakpoint || vector == kOverflow ? 3 : 0;
        if (vector == kPageFault) flags |= 4;
        default_trap_table[vector] = {static_cast<uint8_t>(vector), flags, FLAT_KERNEL_CS,
                                      stub_address(vector)};
    }
    default_trap_table[32] = {kSoft, 3, FLAT_KERNEL_CS,
                              addr(reinterpret_cast<void*>(trap_soft_stub))};
    default_trap_table[kDefaultTraps] = {};
    set_trap_table(default_trap_table);
    register_callback(CALLBACKTYPE_event, event_callback, 0);
    register_callback(CALLBACKTYPE_failsafe, failsafe_callback, CALLBACKF_mask_events);
    register_callback(CALLBACKTYPE_syscall, syscall_callback, CALLBACKF_mask_events);
    stack_switch(FLAT_KERNEL_SS, kernel_stack_top());
}

Trap catch_trap_call(void (*fn)(void*), void* arg) {
    Guard guard{.outer = innermost};
    innermost = &guard;
    guarded_call(fn, arg, &guard.resume_sp);
    innermost = guard.outer;
    return guard.trap;
}

Trap enter(const TrapFrame& frame, uint64_t flags) {
    struct Way {
        const TrapFrame* frame;
        uint64_t flags;
    } way{&frame, flags};
    return catch_trap([&way] { iret_to(way.frame, way.flags); });
}

extern "C" void trap_dispatch(TrapFrame* frame) {
    if (frame->vector < kVectors && handlers[frame->vector] && handlers[frame->vector](*frame))
        return;
    if (innermost && on_boot_vcpu()) leave_by(*innermost, *frame);
    print("unexpected trap %lx error %lx at %lx rsp %lx cr2 %lx\n", frame->vector, frame->error,
          frame->rip, frame->rsp, vcpu_info().arch.cr2);
    shutdown();
}

}  // namespace guest
