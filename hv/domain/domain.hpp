// A domain: what every kind of guest has. Page tables and such are in `arch`.
//
// Life: create() → built by the control domain (paused) → runs → shut down (its vCPUs stop, the
// control domain is told) → kill() (dying: preemptible teardown) → the last reference goes →
// destroyed after an RCU grace period. A domain is found by id without a lock; holding a
// DomainRef keeps the struct, not the guest, alive.
#pragma once

#include <atomic>

#include <xen/xen.h>

#include "arch/domain.hpp"
#include "base/list.hpp"
#include "base/lock.hpp"
#include "base/ref.hpp"
#include "base/result.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/domain/virtual_nodes.hpp"
#include "hv/grant/grant.hpp"
#include "hv/limits.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/heap.hpp"
#include "hv/memory/nodes.hpp"
#include "hv/sched/rcu.hpp"

namespace hv {

class EventChannels;  // hv/event/channels.hpp

using DomainRef = Ref<Domain>;

enum class Dying : uint8_t { kAlive, kDying, kDead };

struct DomainConfig {
    uint8_t handle[16] = {};
    uint32_t flags = 0;  ///< XEN_DOMCTL_CDF_*
    uint32_t ssidref = 0;
    uint32_t max_vcpus = 1;
    uint32_t max_event_port = 1023;
    grant::Limits grant = {64, 1024, 2};
    uint32_t cpupool_id = 0;
    uint32_t misc_flags = 0;  ///< XEN_X86_*
    bool privileged = false;  ///< Domain 0
    bool hardware = false;    ///< owns the machine's devices
};

struct DomainPages {
    uint64_t total = 0;                     ///< frames it owns
    uint64_t max = 0;                       ///< XEN_DOMCTL_max_mem
    uint64_t claimed = 0;                   ///< outstanding claim
    uint64_t shared_frames = 0;             ///< hypervisor frames shown to it
    NodeMask near_nodes = NodeMask::all();  ///< where its memory should come from
    Node last_node = 0;                     ///< where the last frames came from
};

/// An entry of the memory map that XENMEM_set_memory_map gives a domain: the BIOS's e820 layout.
struct [[gnu::packed]] MemoryMapEntry {
    uint64_t start;
    uint64_t bytes;
    uint32_t type;
};
static_assert(sizeof(MemoryMapEntry) == 20);

struct Domain : ListNode<Domain> {
    /// A new domain without vCPUs, paused by its controller, in the table of domains.
    /// kENOMEM; kEEXIST: `id` is taken; kEINVAL: configuration out of range.
    static Result<DomainRef> create(DomId id, const DomainConfig& config);
    /// The domain of that id, dying ones included; kESRCH. DOMID_SELF is not resolved here.
    static Result<DomainRef> find(DomId id);
    /// The same with DOMID_SELF as the caller's own.
    static Result<DomainRef> find_or_self(DomId id);
    /// The first id above 0 that is free; kENOMEM when there is none.
    static Result<DomId> free_id();
    /// Calls `fn(Domain&)` for each domain in order of id, idle excluded, each held meanwhile,
    /// until `fn` returns false.
    template <class Fn>
    static void for_each(Fn fn, DomId from = DomId{0}) {
        for (DomainRef d = next_from(from); d; d = next_from(d->id + 1))
            if (!fn(*d)) return;
    }
    static DomainRef next_from(DomId from);
    /// Domain 0, once it exists.
    static Domain* hardware();

    bool get();  ///< one more reference, unless the last has gone
    void put();

    /// Adds vCPU `id`, down and without registers; kENOMEM, kEINVAL: out of range.
    Result<Vcpu*> add_vcpu(VcpuId id);
    Vcpu* vcpu(uint64_t n) const {  ///< nullptr unless it exists; index masked against speculation
        if (n >= max_vcpus) return nullptr;
        return vcpus[n];
    }

    /// SCHEDOP_shutdown and crashes: stops the vCPUs, tells the control domain. For Domain 0 the
    /// machine follows (reboot, power-off).
    void shutdown(uint8_t reason);
    void resume();  ///< undoes shutdown(SHUTDOWN_suspend)
    /// Kills the guest for something it did; logs `why`. From its own context or another's.
    void crash(const char* why);
    /// XEN_DOMCTL_destroydomain: false when done, true when it has to be called again.
    Result<bool> kill();

    DomId id;
    DomainConfig config;
    bool privileged = false;
    bool is_hardware = false;

    // life
    std::atomic<uint32_t> references{1};
    std::atomic<Dying> dying{Dying::kAlive};
    SpinLock life_lock{static_cast<uint8_t>(Rank::kDomain)};
    bool is_shutting_down = false;  ///< under life_lock
    bool is_shut_down = false;
    uint8_t shutdown_code = 0xff;
    std::atomic<uint32_t> pause_count{0};  ///< of all its vCPUs
    std::atomic<uint32_t> controller_pauses{0};
    bool creation_finished = false;
    unsigned kill_stage = 0;
    struct Rcu : RcuHead {
        Domain* domain = nullptr;
    } rcu;

    // vCPUs
    uint32_t max_vcpus = 0;
    heap::OwnedArray<Vcpu*> vcpus;
    AtomicCpuMask dirty_cpus;  ///< CPUs whose TLB may hold entries of it

    // memory
    Locked<DomainPages, Rank::kDomainPages> pages;
    shared_info* shared = nullptr;  ///< a hypervisor frame shown to it
    Mfn shared_mfn = kInvalidMfn;
    Mfn relinquish_cursor{0};
    Locked<heap::OwnedArray<MemoryMapEntry>, Rank::kDomain> memory_map;
    Locked<heap::Owned<VirtualNodes>, Rank::kDomain> virtual_nodes;  ///< empty: it has none

    EventChannels* events = nullptr;
    GrantTable* grants = nullptr;
    void* sched_data = nullptr;  ///< the policy's
    std::atomic<uint64_t> vm_assist{0};
    DomId device_model{0x7fff};  ///< XEN_DOMCTL_set_target: the domain it may act for
    /// XEN_DOMCTL_setnodeaffinity; until then its memory is taken near to the CPUs it may run on.
    bool has_node_affinity = false;
    std::atomic<bool> debugger_attached{false};  ///< its kernel's breakpoints stop it
    std::atomic<uint32_t> suspend_port{0};  ///< XEN_DOMCTL_subscribe: signalled when it suspends
    int64_t time_offset_seconds = 0;
    uint32_t tsc_mode = 0;
    uint32_t tsc_incarnation = 0;

    arch::DomainState arch;
};

}  // namespace hv
