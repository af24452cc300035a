#include "hv/x86/irq/cpus.hpp"

#include "arch/cpu.hpp"
#include "hv/x86/irq/lapic.hpp"
#include "hv/x86/irq/vectors.hpp"

namespace hv {
namespace {

AtomicCpuMask g_online;
AtomicCpuMask g_kicked;  // a kick is on its way: another would tell nothing new

}  // namespace

namespace irq {

void mark_online(CpuId cpu) {
    g_online.set(cpu);
}

void note_kick() {
    g_kicked.clear(arch::this_cpu());
}

}  // namespace irq

namespace arch {

CpuMask online_cpus() {
    return g_online.snapshot();
}

void kick_cpu(CpuId cpu) {
    if (cpu == this_cpu() || !g_online.test(cpu)) return;
    if (g_kicked.test_and_set(cpu)) return;
    irq::lapic::send_ipi(cpu, irq::kVectorKick);
}

}  // namespace arch
}  // namespace hv
