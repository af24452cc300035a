// sysctl: the domains as a whole, their scheduler, and the hypervisor's messages.
#include "hv/console/keys.hpp"
#include "hv/console/ring.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/domctl.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/sysctl.hpp"
#include "hv/sched/sched.hpp"

namespace hv::sysctl {

Outcome getdomaininfolist(xen_sysctl& op) {
    auto& list = op.u.getdomaininfolist;
    const GuestOut<xen_domctl_getdomaininfo> into(list.buffer);
    uint32_t count = 0;
    Result<> told;
    Domain::for_each(
        [&](Domain& domain) {
            if (count == list.max_domains) return false;
            xen_domctl_getdomaininfo info;
            domctl::describe(domain, info);
            told = into.store(info, count);
            if (!told) return false;
            ++count;
            return true;
        },
        DomId{list.first_domain});
    if (!told) return told;
    list.num_domains = count;
    return Outcome{};
}

Outcome sched_id(xen_sysctl& op) {
    op.u.sched_id.sched_id = sched::policy_id();
    return Outcome{};
}

Outcome scheduler_op(xen_sysctl& op) {
    return sched::system_control(op.u.scheduler_op);
}

Outcome readconsole(xen_sysctl& op) {
    auto& read = op.u.readconsole;
    return console::read_ring(GuestOut<char>(read.buffer), read.count, read.index,
                              read.incremental != 0, read.clear != 0);
}

Outcome debug_keys(xen_sysctl& op) {
    const auto& keys = op.u.debug_keys;
    constexpr uint32_t kMaxKeys = 64;  // each prints a report: enough for one call
    if (keys.nr_keys > kMaxKeys) return Errno::kE2BIG;
    const GuestIn<char> from(keys.keys);
    for (uint32_t i = 0; i < keys.nr_keys; ++i) {
        auto key = from.load(i);
        if (!key) return key.error();
        console::handle_key(*key);
    }
    return Outcome{};
}

}  // namespace hv::sysctl
