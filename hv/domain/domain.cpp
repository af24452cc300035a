#include "hv/domain/domain.hpp"

#include <algorithm>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "arch/time.hpp"
#include "hv/console/trace.hpp"
#include "hv/domain/lifecycle.hpp"
#include "hv/domain/table.hpp"
#include "hv/event/event.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/sched/sched.hpp"

namespace hv {

namespace {

constinit std::atomic<Domain*> hardware_domain;

Result<> make_shared_info(Domain& domain) {
    const Mfn mfn = TRY(memory::alloc_frames(0));
    memory::share_frame(mfn, domain, memory::Access::kReadWrite);
    domain.shared_mfn = mfn;
    domain.shared = arch::mfn_to_virt<shared_info>(mfn);
    return {};
}

Result<> make_parts(Domain& domain) {
    const DomainConfig& config = domain.config;
    domain.vcpus = TRY(heap::OwnedArray<Vcpu*>::create(config.max_vcpus));
    domain.max_vcpus = config.max_vcpus;
    TRY(make_shared_info(domain));
    TRY(sched::init_domain(domain));
    TRY(event::init_domain(domain));
    TRY(grant::init_domain(domain, config.grant));
    TRY(arch::init_domain(domain, config));
    arch::update_domain_wallclock(domain);
    return {};
}

/// Undoes make_parts(), also when it stopped half-way, and frees the struct.
void destroy_parts(Domain& domain) {
    lifecycle::destroy_vcpus(domain);
    arch::destroy_domain(domain);
    grant::destroy_domain(domain);
    event::destroy_domain(domain);
    sched::destroy_domain(domain);
    if (domain.shared) memory::retire_shared_frame(domain.shared_mfn, domain);
    heap::destroy(&domain);
}

void destroy_after_grace(RcuHead* head) {
    Domain* domain = static_cast<Domain::Rcu*>(head)->domain;
    destroy_parts(*domain);
    // Whoever waits for the domain to be gone for good (xenstored, `xl destroy`) looks again.
    event::send_host_virq(VIRQ_DOM_EXC);
}

bool in_range(const DomainConfig& config) {
    return config.max_vcpus >= 1 && config.max_vcpus <= kMaxVcpusPerDomain;
}

}  // namespace

Result<DomainRef> Domain::create(DomId id, const DomainConfig& config) {
    if (!in_range(config) || id.raw() >= kFirstReservedDomId) return Errno::kEINVAL;
    if (domain_table::peek(id)) return Errno::kEEXIST;
    auto* domain = heap::create<Domain>();
    if (!domain) return Errno::kENOMEM;
    domain->id = id;
    domain->rcu.domain = domain;
    domain->config = config;
    domain->privileged = config.privileged;
    domain->is_hardware = config.hardware;
    domain->controller_pauses = 1;
    domain->pause_count = 1;

    auto made = make_parts(*domain);
    if (made) made = domain_table::enter(*domain);
    if (!made) {
        destroy_parts(*domain);
        return made.error();
    }
    trace::event(TRC_DOM0_DOM_ADD, id.raw());
    if (config.hardware) hardware_domain.store(domain);
    domain->get();  // the first reference is the domain's life, this one the caller's
    return DomainRef::adopt(domain);
}

Result<DomainRef> Domain::find(DomId id) {
    Domain* domain = domain_table::peek(id);
    if (!domain || !domain->get()) return Errno::kESRCH;
    return DomainRef::adopt(domain);
}

Result<DomainRef> Domain::find_or_self(DomId id) {
    return find(id == DomId{DOMID_SELF} ? arch::current().domain->id : id);
}

Result<DomId> Domain::free_id() {
    return domain_table::free_id();
}

DomainRef Domain::next_from(DomId from) {
    for (;;) {
        Domain* domain = domain_table::next(from);
        if (!domain) return {};
        if (domain->get()) return DomainRef::adopt(domain);
        from = domain->id + 1;
    }
}

Domain* Domain::hardware() {
    return hardware_domain.load(std::memory_order_acquire);
}

bool Domain::get() {
    uint32_t now = references.load(std::memory_order_relaxed);
    do {
        if (now == 0 || now == UINT32_MAX) return false;
    } while (!references.compare_exchange_weak(now, now + 1, std::memory_order_acquire));
    return true;
}

void Domain::put() {
    if (references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    trace::event(TRC_DOM0_DOM_REM, id.raw());
    domain_table::leave(*this);
    // Look-ups hold no lock: one that found it just now may still be reading `references`.
    call_rcu(rcu, destroy_after_grace);
}

}  // namespace hv
