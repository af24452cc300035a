// The timers a vCPU has: periodic and one-shot (both raise VIRQ_TIMER), and the limit of a poll.
// They follow the vCPU to the CPU it runs on.
#include "hv/sched/vcpu_timers.hpp"
#include "hv/event/event.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace {

Vcpu& vcpu_of(void* data) {
    return *static_cast<Vcpu*>(data);
}

// Any vCPU of the domain may set them, while the vCPU itself runs elsewhere.
std::atomic_ref<Nanoseconds> period_of(Vcpu& vcpu) {
    return std::atomic_ref(vcpu.periodic_period);
}
std::atomic_ref<Nanoseconds> last_of(Vcpu& vcpu) {
    return std::atomic_ref(vcpu.periodic_last);
}

/// Raises the tick if it is due, and arms the next one. The tick stops while the vCPU does not
/// run: one tick then stands for all that were missed.
void periodic_work(Vcpu& vcpu) {
    const Nanoseconds period = period_of(vcpu).load();
    if (period == 0) return;
    const Nanoseconds now = arch::now();
    Nanoseconds next = last_of(vcpu).load() + period;
    if (now >= next) {
        event::send_virq(vcpu, VIRQ_TIMER);
        last_of(vcpu).store(now);
        next = now + period;
    }
    vcpu.periodic_timer.set(next);
}

void on_periodic(void* data) {
    // Armed only while the vCPU runs, so this is its CPU, unless it has just left it: then it arms
    // the timer itself when it runs again.
    Vcpu& vcpu = vcpu_of(data);
    if (&vcpu == &arch::current()) periodic_work(vcpu);
}
void on_singleshot(void* data) {
    event::send_virq(vcpu_of(data), VIRQ_TIMER);
}
void on_poll_timeout(void* data) {
    Vcpu& vcpu = vcpu_of(data);
    if (vcpu.poll_port.load()) wake(vcpu);
}

}  // namespace

void init_timers(Vcpu& vcpu) {
    const CpuId cpu = vcpu.cpu.load();
    vcpu.periodic_timer.init(on_periodic, &vcpu, cpu);
    vcpu.singleshot_timer.init(on_singleshot, &vcpu, cpu);
    vcpu.poll_timer.init(on_poll_timeout, &vcpu, cpu);
}

void kill_timers(Vcpu& vcpu) {
    vcpu.periodic_timer.kill();
    vcpu.singleshot_timer.kill();
    vcpu.poll_timer.kill();
}

void timers_switched_out(Vcpu& vcpu) {
    vcpu.periodic_timer.stop();
}

void timers_switched_in(Vcpu& vcpu) {
    const CpuId cpu = arch::this_cpu();
    vcpu.periodic_timer.migrate(cpu);
    vcpu.singleshot_timer.migrate(cpu);
    vcpu.poll_timer.migrate(cpu);
    periodic_work(vcpu);
}

void set_periodic_timer(Vcpu& vcpu, Nanoseconds period) {
    // No pause: two vCPUs that set each other's timer would wait for each other.
    const Nanoseconds now = arch::now();
    last_of(vcpu).store(now);
    period_of(vcpu).store(period);
    vcpu.periodic_timer.stop();
    // Who loads it from here on sees the new period.
    if (period && vcpu.is_running.load()) vcpu.periodic_timer.set(now + period);
}

}  // namespace hv::sched
