// The clock as guests read it without a hypercall (vcpu_time_info in <xen/xen.h>).
#include <atomic>

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/x86/time/clock.hpp"
#include "hv/x86/time/time.hpp"

namespace hv::time {
namespace {

void fill(vcpu_time_info& info, const Line& line) {
    info.tsc_timestamp = line.tsc;
    info.system_time = line.ns;
    info.tsc_to_system_mul = line.scale.mul;
    info.tsc_shift = line.scale.shift;
    info.flags = tsc_is_stable() ? XEN_PVCLOCK_TSC_STABLE_BIT : 0;
}

/// Readers retry while the version is odd or has changed; so it is odd from before the first
/// change until after the last.
void write_shared(vcpu_time_info& info, const Line& line) {
    std::atomic_ref<uint32_t> version(info.version);
    const uint32_t odd = version.load(std::memory_order_relaxed) | 1;
    version.store(odd, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    fill(info, line);
    version.store(odd + 1, std::memory_order_release);
}

/// The same for the copy that the vCPU registered by its linear address.
Result<> write_registered(const Vcpu& vcpu, const Line& line) {
    const GuestInOut<vcpu_time_info> guest(vcpu.time_guest);
    vcpu_time_info info = TRY(guest.load());
    info.version |= 1;
    TRY(guest.store_field(info, &vcpu_time_info::version));
    std::atomic_thread_fence(std::memory_order_release);
    fill(info, line);
    TRY(guest.store(info));
    std::atomic_thread_fence(std::memory_order_release);
    ++info.version;
    return guest.store_field(info, &vcpu_time_info::version);
}

}  // namespace
}  // namespace hv::time

namespace hv::arch {

void update_vcpu_time(Vcpu& vcpu) {
    if (vcpu.arch.host_time_version == time::line_version()) return;
    uint64_t version;
    const time::Line line = time::current_line(version);
    vcpu.arch.host_time_version = version;
    if (vcpu_info* info = vcpu.info.load()) time::write_shared(info->time, line);
    // By linear address, so only where the vCPU's page tables are loaded; and while its user's are,
    // it may be out of reach: dirty_runstate has it tried again (sched::update_guest_copies()).
    if (!vcpu.time_guest) return;
    if (&vcpu != &current() || !time::write_registered(vcpu, line).ok()) {
        vcpu.arch.host_time_version = 0;
        vcpu.dirty_runstate.store(true, std::memory_order_relaxed);
    }
}

}  // namespace hv::arch
