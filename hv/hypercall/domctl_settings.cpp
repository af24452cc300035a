// domctl: limits, names and wishes of a domain.
#include <algorithm>
#include <cstring>

#include "arch/time.hpp"
#include "hv/event/event.hpp"
#include "hv/hypercall/control_bitmap.hpp"
#include "hv/hypercall/domctl.hpp"
#include "hv/sched/sched.hpp"

namespace hv::domctl {

Outcome max_mem(Call& call) {
    // May be less than it has: it then gets nothing more until it has given enough up.
    const uint64_t pages = call.op.u.max_mem.max_memkb >> (kPageShift - 10);
    call.domain->pages.lock()->max = std::min<uint64_t>(pages, UINT32_MAX);
    return Outcome{};
}

Outcome setdomainhandle(Call& call) {
    std::memcpy(call.domain->config.handle, call.op.u.setdomainhandle.handle,
                sizeof call.domain->config.handle);
    return Outcome{};
}

Outcome settimeoffset(Call& call) {
    call.domain->time_offset_seconds = call.op.u.settimeoffset.time_offset_seconds;
    arch::update_domain_wallclock(*call.domain);
    return Outcome{};
}

Outcome set_target(Call& call) {
    auto target = Domain::find(DomId{call.op.u.set_target.target});
    if (!target) return target.error();
    if (target->get() == call.domain) return Errno::kEINVAL;
    return Errno::kEOPNOTSUPP;  // only hardware virtualised guests have device models
}

Outcome set_virq_handler(Call& call) {
    return event::set_host_virq_handler(call.op.u.set_virq_handler.virq, *call.domain);
}

Outcome subscribe(Call& call) {
    // Looked at when it is used: the port may come and go until then.
    call.domain->suspend_port.store(call.op.u.subscribe.port);
    return Outcome{};
}

Outcome setnodeaffinity(Call& call) {
    auto nodes = load_bitmap(call.op.u.nodeaffinity.nodemap);
    if (!nodes) return nodes.error();
    if ((*nodes & memory::nodes::online()).empty()) return Errno::kEINVAL;
    // All of the ABI's nodes mean none in particular.
    call.domain->has_node_affinity = !(*nodes == NodeMask::all());
    call.domain->pages.lock()->near_nodes = *nodes;
    sched::follow_nodes(*call.domain);
    return Outcome{};
}

Outcome getnodeaffinity(Call& call) {
    const NodeMask nodes = call.domain->pages.lock()->near_nodes;
    return store_bitmap(call.op.u.nodeaffinity.nodemap, nodes & memory::nodes::online());
}

Outcome scheduler_op(Call& call) {
    return sched::domain_control(*call.domain, call.op.u.scheduler_op);
}

}  // namespace hv::domctl
