// A virtual CPU: what every kind of guest's has. Registers and page tables are in `arch`.
#pragma once

#include <atomic>

#include <xen/vcpu.h>
#include <xen/xen.h>

#include "arch/vcpu.hpp"
#include "base/list.hpp"
#include "hv/hypercall/outcome.hpp"
#include "hv/limits.hpp"
#include "hv/sched/timer.hpp"

namespace hv {

struct Domain;

/// Why a vCPU does not run; it runs when none is set and pause_count is 0.
namespace pause {
inline constexpr uint32_t kBlocked = 1 << 0;  // SCHEDOP_block, or polling
inline constexpr uint32_t kDown = 1 << 1;     // not brought up (VCPUOP_up)
inline constexpr uint32_t kPollTimeout = 1 << 2;
}  // namespace pause

struct Vcpu {
    Vcpu(Domain& owner, VcpuId number) : domain(&owner), id(number) {}

    Domain* domain;
    VcpuId id;
    /// What the guest shares: in the shared info, or where VCPUOP_register_vcpu_info put it; valid
    /// as long as the domain.
    std::atomic<vcpu_info*> info{nullptr};
    arch::VcpuState arch;  ///< near the start, with `info`: assembly reads both

    // --- scheduling (hv/sched writes) ---
    std::atomic<CpuId> cpu{0};            ///< where it runs, or ran last
    std::atomic<bool> is_running{false};  ///< loaded on `cpu` (its state may be stale in memory)
    std::atomic<uint32_t> pause_flags{pause::kDown};
    std::atomic<uint32_t> pause_count{0};
    void* sched_data = nullptr;  ///< the policy's
    CpuMask hard_affinity = CpuMask::all();
    CpuMask soft_affinity = CpuMask::all();
    CpuMask saved_affinity;  ///< while SCHEDOP_pin_override holds
    bool pin_overridden = false;
    vcpu_runstate_info runstate{};  ///< under the run queue's lock
    uint64_t runstate_guest = 0;    ///< linear address of the guest's copy; 0: none
    std::atomic<bool> dirty_runstate{false};

    // --- guest-visible ---
    Mfn info_mfn = kInvalidMfn;  ///< kInvalidMfn: still in the shared info
    bool initialised = false;    ///< has registers (VCPUOP_initialise, setvcpucontext)
    uint64_t time_guest = 0;     ///< VCPUOP_register_vcpu_time_memory_area; 0: none

    // --- events (hv/event) ---
    std::atomic<uint32_t> poll_port{0};  ///< SCHEDOP_poll: 0 none, ~0 several, else the one port
    Port virq_port[24] = {};             ///< NR_VIRQS; 0: unbound
    void* event_data = nullptr;          ///< FIFO control block, if any

    // --- timers (hv/sched) ---
    Timer periodic_timer;  ///< VCPUOP_set_periodic_timer
    Nanoseconds periodic_period = 0;
    Nanoseconds periodic_last = 0;
    Timer singleshot_timer;  ///< VCPUOP_set_singleshot_timer, set_timer_op
    Timer poll_timer;        ///< SCHEDOP_poll's time-out

    // --- a debugger in Domain 0 (gdbsx) ---
    uint32_t controller_pauses = 0;           ///< of this vCPU alone; under the domctl lock
    std::atomic<uint32_t> debugger_event{0};  ///< vector of the breakpoint that was met

    // --- hypercalls ---
    Continuation continuation;
    bool in_multicall = false;

    bool runnable() const;  ///< no pause flag, no pause count (its own, its domain's)
};

}  // namespace hv
