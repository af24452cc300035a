// domctl: what only x86 domains have.
#include "arch/domain.hpp"
#include "arch/memory.hpp"
#include "arch/time.hpp"
#include "cpu/policy.hpp"
#include "hv/hypercall/domctl.hpp"
#include "hv/memory/page.hpp"
#include "hv/sched/sched.hpp"
#include "pv/hypercall_page.hpp"

namespace hv::domctl {

namespace {

// XEN_DOMCTL_settscinfo's modes, as xl.cfg's tsc_mode= numbers them.
enum TscMode : uint32_t { kTscDefault = 0, kTscAlwaysEmulate = 1, kTscNeverEmulate = 2 };

Result<> set_ports(Domain& domain, uint32_t first, uint32_t count, bool allow) {
    constexpr uint32_t kPorts = 0x10000;
    if (first >= kPorts || count > kPorts - first) return Errno::kEINVAL;
    if (!domain.arch.ioports) {
        if (!allow) return {};
        domain.arch.ioports = heap::create<Bitmap<kPorts>>();
        if (!domain.arch.ioports) return Errno::kENOMEM;
    }
    for (uint32_t port = first; port < first + count; ++port)
        domain.arch.ioports->assign(port, allow);
    return {};
}

Result<> fill_hypercall_page(Domain& domain, uint64_t gmfn) {
    auto page = WritablePageRef::take(Mfn{gmfn}, domain.id);
    if (!page) return Errno::kEACCES;
    pv::fill_hypercall_page(arch::mfn_to_virt<uint8_t>(page->mfn()));
    return {};
}

}  // namespace

Outcome set_address_size(Call& call) {
    switch (call.op.u.address_size.size) {
        case 32:
            return Errno::kEOPNOTSUPP;
        case 64:
            return Outcome{};
    }
    return Errno::kEINVAL;
}

Outcome get_address_size(Call& call) {
    call.op.u.address_size.size = 64;
    return Outcome{};
}

Outcome settscinfo(Call& call) {
    const auto& info = call.op.u.tsc_info;
    if (is_self(*call.domain)) return Errno::kEINVAL;
    switch (info.tsc_mode) {
        case kTscDefault:
        case kTscNeverEmulate:
            // All TSCs tick alike (or the clock does not use them), so neither needs emulation.
            call.domain->tsc_mode = info.tsc_mode;
            call.domain->tsc_incarnation = info.incarnation;
            return Outcome{};
        case kTscAlwaysEmulate:
            return Errno::kEOPNOTSUPP;
    }
    return Errno::kEINVAL;
}

Outcome gettscinfo(Call& call) {
    auto& info = call.op.u.tsc_info;
    const bool native = call.domain->tsc_mode == kTscNeverEmulate;
    info.tsc_mode = call.domain->tsc_mode;
    info.gtsc_khz = native ? 0 : static_cast<uint32_t>(arch::tsc_khz());
    info.elapsed_nsec = native ? 0 : static_cast<uint64_t>(arch::now());
    info.incarnation = native ? 0 : call.domain->tsc_incarnation;
    return Outcome{};
}

Outcome set_cpu_policy(Call& call) {
    if (is_self(*call.domain)) return Errno::kEINVAL;
    if (call.domain->creation_finished) return Errno::kEEXIST;
    sched::domain_pause(*call.domain);
    Outcome outcome = arch::cpu_policy::domctl_set(*call.domain, call.op.u.cpu_policy);
    sched::domain_unpause(*call.domain);
    return outcome;
}

Outcome get_cpu_policy(Call& call) {
    return arch::cpu_policy::domctl_get(*call.domain, call.op.u.cpu_policy);
}

Outcome hypercall_init(Call& call) {
    return fill_hypercall_page(*call.domain, call.op.u.hypercall_init.gmfn);
}

/// A PV guest has no ACPI buttons; what it has is an NMI.
Outcome sendtrigger(Call& call) {
    const auto& op = call.op.u.sendtrigger;
    Vcpu* vcpu = call.domain->vcpu(op.vcpu);
    if (!vcpu) return Errno::kESRCH;
    switch (op.trigger) {
        case XEN_DOMCTL_SENDTRIGGER_NMI:
            arch::send_nmi(*vcpu);
            return Outcome{};
        case XEN_DOMCTL_SENDTRIGGER_POWER:
        case XEN_DOMCTL_SENDTRIGGER_SLEEP:
            return Errno::kEINVAL;
    }
    return Errno::kENOSYS;
}

Outcome ioport_permission(Call& call) {
    const auto& ports = call.op.u.ioport_permission;
    return set_ports(*call.domain, ports.first_port, ports.nr_ports, ports.allow_access);
}

}  // namespace hv::domctl
