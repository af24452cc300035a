// What the architecture owes the portable rooms: which CPU this is, what runs on it, how to reach
// the others. Host tests provide the same functions over a fake machine (tests/unit/fake).
#pragma once

#include "base/shared_lock.hpp"
#include "hv/limits.hpp"
#ifndef XENOLITH_HOST
#include "hv/x86/cpu/cpu_info.hpp"
#endif

namespace hv {

struct Domain;
struct Vcpu;

namespace arch {

#ifdef XENOLITH_HOST
CpuId this_cpu();
Vcpu& current();
inline base::LockStripe lock_stripe() {
    return base::LockStripe::of(this_cpu());
}
#else
inline CpuId this_cpu() {
    return cpu::cpu_info().cpu;
}
/// The vCPU whose state is loaded here; an idle vCPU if none.
inline Vcpu& current() {
    return *cpu::cpu_info().current;
}
/// This CPU's stripe of locks that it shares. The same until the hypervisor is left.
inline base::LockStripe lock_stripe() {
    return cpu::cpu_info().lock_stripe;
}
#endif
bool is_idle(const Vcpu&);
CpuMask online_cpus();

/// Makes `cpu` look at its pending softirqs soon (an IPI if it runs a guest or sleeps).
void kick_cpu(CpuId cpu);

/// Lets pending interrupts in for a moment. Only where no lock of rank >= kEvent is held;
/// the hypervisor otherwise runs with interrupts off.
void poll_interrupts();

/// Sleeps until the next interrupt, unless `work_pending()` says there is something to do
/// (checked with interrupts off, so that no wake-up is lost).
void wait_for_interrupt(bool (*work_pending)());

/// Loads `next` in place of `prev` on this CPU (page tables, registers, FPU, descriptors).
/// Called by the scheduler's softirq only, with nothing of `prev` left on the stack: the way
/// back to the guest then continues as `next`.
void context_switch(Vcpu& prev, Vcpu& next);

/// Makes sure that no register of `vcpu` lies only on a CPU; it must not be running.
void sync_vcpu_state(Vcpu& vcpu);

/// Flushes on every CPU of `cpus` (this one included if it is in the set) all TLB entries,
/// global ones too, and returns when all have done so.
void flush_tlb(const CpuMask& cpus);
/// The same for one linear address (of the guest loaded there).
void flush_tlb_page(const CpuMask& cpus, uint64_t linear);
/// A clock that counts whole-TLB flushes: a frame freed at stamp S may be reused once every CPU
/// that could hold it has flushed after S.
uint32_t tlb_flush_stamp();
/// The CPUs of `cpus` that have not flushed since `stamp`.
CpuMask cpus_not_flushed_since(const CpuMask& cpus, uint32_t stamp);

/// Writes back and invalidates the caches of this CPU (WBINVD), or of each in `cpus`.
void flush_cache();
void flush_caches(const CpuMask& cpus);

/// Logs the registers and the top of the stack of `dying`'s vCPU, if one is current.
void log_guest_state(const Domain& dying);

/// From here on only this CPU does anything, no interrupt comes, and no lock is waited for.
void machine_quiesce();
/// From an NMI: does not return if another CPU has stopped the rest of the machine.
void stay_if_stopped();
[[noreturn]] void machine_restart();
[[noreturn]] void machine_halt();
/// Asks ACPI to power off (only after a Domain 0 told how, or with the tables' \_S5 unknown: halt).
[[noreturn]] void machine_power_off();

}  // namespace arch
}  // namespace hv
