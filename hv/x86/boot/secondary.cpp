#include "hv/x86/boot/secondary.hpp"

#include "arch/cpu.hpp"
#include "hv/console/log.hpp"
#include "hv/sched/sched.hpp"
#include "hv/x86/cpu/cpu_info.hpp"
#include "hv/x86/cpu/cpu_init.hpp"
#include "hv/x86/cpu/fpu.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/policy.hpp"
#include "hv/x86/irq/cpus.hpp"
#include "hv/x86/irq/lapic.hpp"
#include "hv/x86/time/time.hpp"

namespace hv::boot {
namespace {

AtomicCpuMask g_begun;

[[noreturn]] void stop() {
    for (;;) asm volatile("cli; hlt");
}

}  // namespace

bool secondary_has_begun(CpuId cpu) {
    return g_begun.test(cpu);
}

void secondary_start(CpuId cpu) {
    cpu::write_cr3(cpu::idle_cr3());
    cpu::init_this_cpu(cpu);
    arch::cpu_policy::init_cpu();
    arch::fpu::init_cpu();
    irq::lapic::init_cpu();
    g_begun.set(cpu);
    time::compare_tsc_as_newcomer(cpu);
    if (Result<> up = sched::cpu_up(cpu); !up) {
        log(LogLevel::kError, "CPU {}: no memory for its idle vCPU", cpu);
        stop();
    }
    cpu::cpu_info().current = &sched::idle_vcpu(cpu);
    irq::mark_online(cpu);
    sched::idle_loop();
}

}  // namespace hv::boot
