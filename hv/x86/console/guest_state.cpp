// What a guest was doing when it died: its registers, and the top of its stack.
#include "arch/cpu.hpp"
#include "arch/guest_memory.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/cpu/cpu_info.hpp"

namespace hv::arch {

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
    for (uint64_t line = 0; line < 8; ++line) {
        uint64_t words[4];
        const uint64_t at = r.rsp + line * sizeof words;
        if (!copy_from_guest(words, at, sizeof words).ok()) break;
        log(LogLevel::kError, "  stack {:x}: {:016x} {:016x} {:016x} {:016x}", at, words[0],
            words[1], words[2], words[3]);
    }
}

}  // namespace hv::arch
