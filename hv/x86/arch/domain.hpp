// x86's part of a domain, and what the architecture owes hv/domain.
#pragma once

#include <atomic>
#include <cstdint>

#include <xen/xen.h>

#include "base/range_set.hpp"
#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/memory/heap.hpp"
#include "hv/x86/paging/paging_lock.hpp"

namespace hv {
struct Domain;
struct Vcpu;
struct DomainConfig;

namespace arch {

struct CpuPolicy;  // x86/cpu/policy.hpp: what CPUID and MSRs say to this domain
struct PirqTable;  // x86/irq/pirq.hpp: its physical interrupts

struct DomainState {
    PagingLock paging_lock;      ///< each CPU changes leaves by its own stripe: arch::lock_stripe()
    uint64_t physmap_pages = 0;  ///< XENMEM_maximum_gpfn: highest pfn the domain told, +1
    CpuPolicy* cpu_policy = nullptr;
    PirqTable* pirqs = nullptr;
    Mfn release_cursor{0};             ///< how far relinquish_domain() has looked
    Mfn perdomain_l3 = kInvalidMfn;    ///< the slot with each vCPU's GDT and LDT
    uint32_t pci_cf8 = 0;              ///< Domain 0's configuration address register
    uint8_t cmos_index = 0;            ///< and the index of its last access to the CMOS
    bool isolate_page_tables = false;  ///< xpti for this domain
    /// Which I/O ports it may use without being Domain 0 (XEN_DOMCTL_ioport_permission); nullptr:
    /// none.
    Bitmap<65536>* ioports = nullptr;
    /// Device frames by XEN_DOMCTL_iomem_permission: what Domain 0 has lost, what another domain
    /// has got. nullptr: none. Under the paging lock.
    base::RangeSet<32>* device_frames = nullptr;
};

/// Called by Domain::create / add_vcpu; undone by the destroy functions, also after half a success.
Result<> init_domain(Domain& domain, const DomainConfig& config);
void destroy_domain(Domain& domain);
Result<> init_vcpu(Vcpu& vcpu);
void destroy_vcpu(Vcpu& vcpu);

/// Drops page tables, mappings and references of a dying domain whose vCPUs are off their CPUs;
/// true: stopped early because of preempt_requested(), call again.
bool relinquish_domain(Domain& domain);

/// The registers of a vCPU from / to the ABI's struct (VCPUOP_initialise, XEN_DOMCTL_*vcpucontext).
Result<> set_vcpu_context(Vcpu& vcpu, const struct vcpu_guest_context& context);
void get_vcpu_context(Vcpu& vcpu, struct vcpu_guest_context& context);

/// VCPUOP_send_nmi: the vCPU's NMI callback runs soon.
void send_nmi(Vcpu& vcpu);

/// How the domain may map this frame although it is not RAM (device memory). Read-only are pages
/// that its drivers look at, and the hypervisor writes.
enum class DeviceAccess : uint8_t { kNone, kReadOnly, kFull };
DeviceAccess device_access(const Domain& domain, Mfn mfn);
/// Whether a domain may give all of these, device memory that is its own to use, to another one.
bool may_give_device_frames(const Domain& domain, Mfn first, Mfn last);
/// Lets a domain have them from now on, or no longer; kENOMEM: too many separate ranges.
Result<> permit_device_frames(Domain& domain, Mfn first, Mfn last, bool allow);
/// One above the highest frame number that a page-table entry can hold here.
uint64_t machine_frame_limit();
bool may_use_ports(const Domain& domain, uint16_t first, unsigned count);

}  // namespace arch
}  // namespace hv
