// The end of a domain, in stages; each can be interrupted and is entered again until it is done.
//
// After the last stage nothing belongs to the domain but frames that others still map. The last of
// those takes the domain with it; until then it is a zombie that the tools can see.
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/lifecycle.hpp"
#include "hv/event/event.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/sched/sched.hpp"

namespace hv {

namespace {

enum Stage : unsigned {
    kClosePorts,
    kReleaseGrants,
    kLeaveVcpuInfo,
    kAwaitReaders,
    kArchitecture,
    kFrames,
    kFinish,
};

void begin(Domain& domain) {
    sched::stop_watchdogs(domain);
    sched::domain_pause(domain);
    domain.dying.store(Dying::kDying);
    // Whoever was about to give it a frame holds this lock and has done so, or sees it dying.
    { auto barrier = domain.pages.lock(); }
    (void)memory::set_claim(domain, 0);
}

/// In RCU context: nobody sends events to the old vcpu_info frames any more.
void readers_have_left(RcuHead* head) {
    Domain* domain = static_cast<Domain::Rcu*>(head)->domain;
    std::atomic_ref(domain->kill_stage).store(kArchitecture, std::memory_order_release);
    domain->put();
}

/// One stage; true: it has to be entered again later.
Result<bool> run(Domain& domain, unsigned stage) {
    switch (stage) {
        case kClosePorts:
            return event::close_all(domain);
        case kReleaseGrants:
            return grant::release_mappings(domain);
        case kLeaveVcpuInfo:
            lifecycle::leave_vcpu_info(domain);
            domain.get();
            std::atomic_ref(domain.kill_stage).store(kAwaitReaders);
            call_rcu(domain.rcu, readers_have_left);
            return true;
        case kAwaitReaders:
            return true;
        case kArchitecture:
            lifecycle::release_vcpu_info(domain);
            return arch::relinquish_domain(domain);
        case kFrames:
            return memory::relinquish_frames(domain, domain.relinquish_cursor);
        default:
            domain.dying.store(Dying::kDead);
            event::send_host_virq(VIRQ_DOM_EXC);
            domain.put();  // its life; the caller still holds a reference
            return false;
    }
}

}  // namespace

Result<bool> Domain::kill() {
    if (is_hardware) return Errno::kEINVAL;
    if (dying.load() == Dying::kDead) return false;
    if (dying.load() == Dying::kAlive) begin(*this);
    for (;;) {
        const unsigned stage = std::atomic_ref(kill_stage).load(std::memory_order_acquire);
        if (TRY(run(*this, stage))) return true;
        if (stage >= kFinish) return false;
        std::atomic_ref(kill_stage).store(stage + 1);
    }
}

}  // namespace hv
