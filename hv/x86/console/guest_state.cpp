// What a guest was doing when it died: its registers, and the top of its stack.
#include "arch/cpu.hpp"
#include "arch/guest_memory.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/counters.hpp"
#include "hv/x86/cpu/cpu_info.hpp"
#include "hv/x86/pv/walk.hpp"

namespace hv::arch {

namespace {

/// The entries on the way to an address, from L4 on: which one is missing, or forbids.
void log_walk(const Vcpu& v, const char* name, uint64_t linear) {
    const PvVcpu& pv = v.arch.pv;
    const Mfn table = pv.kernel_mode ? pv.kernel_table : pv.user_table;
    const pv::Walk found = pv::walk(*v.domain, table, linear);
    log(LogLevel::kError, "  {} {:x} by L4 {:x}: {:x} {:x} {:x} {:x}{}", name, linear, table.raw(),
        found.entries[0], found.entries[1], found.entries[2], found.entries[3],
        found.complete ? "" : " (not mapped)");
}

/// In the debug build: what it asked for last, the newest first.
void log_calls(const Vcpu& v) {
    counters::Call call;
    for (unsigned back = 0; back < 8 && counters::last_call(v, back, call); ++back)
        log(LogLevel::kError, "  {} hypercall {} ({:x}, …)", back ? "before it" : "last",
            call.number, call.first_argument);
}

}  // namespace

void log_guest_state(const Domain& dying) {
    const Vcpu& v = current();
    if (v.domain != &dying) return;
    const Registers& r = cpu::guest_registers();
    const bool kernel = v.arch.pv.kernel_mode;
    log(LogLevel::kError, "d{}v{} in its {}: rip {:x}:{:x} rsp {:x}:{:x} flags {:x} cr2 {:x}",
        v.domain->id, v.id, kernel ? "kernel" : "user", r.cs, r.rip, r.ss, r.rsp, r.rflags,
        v.arch.pv.cr2_guest);
    log(LogLevel::kError, "  rax {:x} rbx {:x} rcx {:x} rdx {:x} rsi {:x} rdi {:x} rbp {:x}", r.rax,
        r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp);
    log(LogLevel::kError, "  r8 {:x} r9 {:x} r10 {:x} r11 {:x} r12 {:x} r13 {:x} r14 {:x} r15 {:x}",
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15);
    if constexpr (counters::kOn) log_calls(v);
    log_walk(v, "cr2", v.arch.pv.cr2_guest);
    log_walk(v, "rip", r.rip);
    for (uint64_t line = 0; line < 8; ++line) {
        uint64_t words[4];
        const uint64_t at = r.rsp + line * sizeof words;
        if (!copy_from_guest(words, at, sizeof words).ok()) break;
        log(LogLevel::kError, "  stack {:x}: {:016x} {:016x} {:016x} {:016x}", at, words[0],
            words[1], words[2], words[3]);
    }
}

}  // namespace hv::arch
