// What other rooms raise and ask: virtual and physical interrupts, upcalls, polling.
#include "hv/event/event.hpp"

#include <algorithm>

#include "hv/event/abi.hpp"
#include "hv/event/bind.hpp"

namespace hv::event {
namespace {

/// Who handles a VIRQ of the host, by domain id; 0, Domain 0, unless the tools say otherwise.
constinit std::atomic<uint16_t> host_virq_handlers[NR_VIRQS] = {};

/// A domain that dies hands the host's VIRQs back to Domain 0.
void forget_handler(const Domain& domain) {
    for (auto& handler : host_virq_handlers) {
        uint16_t id = domain.id.raw();
        handler.compare_exchange_strong(id, 0);
    }
}

Channel* virq_channel(Vcpu& vcpu, uint32_t virq) {
    if (virq >= NR_VIRQS) return nullptr;
    Port port = std::atomic_ref(vcpu.virq_port[virq]).load(std::memory_order_acquire);
    if (port == Port{}) return nullptr;
    Channel* channel = vcpu.domain->events->find(port);
    return channel && channel->state.load() == ChannelState::kVirq ? channel : nullptr;
}

Channel* pirq_channel(Domain& domain, Pirq pirq) {
    auto* ports = domain.events->pirq_ports.load(std::memory_order_acquire);
    if (!ports || pirq.raw() >= kMaxBoundPirqs) return nullptr;
    uint32_t port = ports[pirq.raw()].load(std::memory_order_acquire);
    return port ? domain.events->find(Port{port}) : nullptr;
}

}  // namespace

Result<> init_domain(Domain& domain) {
    heap::Owned<EventChannels> channels(heap::create<EventChannels>(domain));
    if (!channels) return Errno::kENOMEM;
    // The highest port is the configuration's; Domain 0 says "all".
    channels->port_limit = std::min(domain.config.max_event_port, kFifoPorts - 1) + 1;
    size_t count = (channels->port_limit + kChannelsPerBucket - 1) / kChannelsPerBucket;
    channels->buckets = TRY(heap::OwnedArray<std::atomic<Bucket*>>::create(count));
    domain.events = channels.release();
    return {};
}

bool close_all(Domain& domain) {
    if (!domain.events) return false;
    forget_handler(domain);
    if (close_all_ports(domain, false)) return true;
    leave_fifo(domain);  // its pages are the domain's, which ends when they are free
    return false;
}

void destroy_domain(Domain& domain) {
    heap::destroy(domain.events);
    domain.events = nullptr;
}

void send_virq(Vcpu& vcpu, uint32_t virq) {
    if (Channel* channel = virq_channel(vcpu, virq)) raise(*channel);
}

void send_global_virq(Domain& domain, uint32_t virq) {
    if (Vcpu* vcpu = domain.vcpu(0)) send_virq(*vcpu, virq);
}

void send_host_virq(uint32_t virq) {
    if (virq >= NR_VIRQS) return;
    if (uint16_t id = host_virq_handlers[virq].load(std::memory_order_relaxed)) {
        if (auto handler = Domain::find(DomId{id})) return send_global_virq(**handler, virq);
    }
    Domain* host = Domain::hardware();
    if (host && host->events) send_global_virq(*host, virq);
}

Result<> set_host_virq_handler(uint32_t virq, Domain& handler) {
    if (virq >= NR_VIRQS || virq_is_per_vcpu(virq)) return Errno::kEINVAL;
    host_virq_handlers[virq].store(handler.id.raw());
    // It may have begun to die, and forgotten that it is the handler, before we said so.
    if (handler.dying.load() != Dying::kAlive) {
        forget_handler(handler);
        return Errno::kEINVAL;
    }
    return {};
}

bool send_pirq(Domain& domain, Pirq pirq) {
    Channel* channel = pirq_channel(domain, pirq);
    if (!channel) return false;
    raise(*channel);
    return true;
}

void unmask_pirq(Domain& domain, Pirq pirq) {
    if (Channel* channel = pirq_channel(domain, pirq)) unmask(*channel);
}

Result<Port> alloc_unbound(Domain& domain, DomId remote) {
    Port port = TRY(alloc_unbound_port(domain, remote));
    domain.events->find(port)->by_hypervisor = true;
    return port;
}

bool has_pending(const Vcpu& vcpu) {
    vcpu_info* info = vcpu.info.load(std::memory_order_acquire);
    if (!info) return false;
    return std::atomic_ref(info->evtchn_upcall_pending).load(std::memory_order_acquire) &&
           !std::atomic_ref(info->evtchn_upcall_mask).load(std::memory_order_relaxed);
}

void mark_all_pending(Vcpu& vcpu) {
    vcpu_info* info = vcpu.info.load(std::memory_order_acquire);
    if (!info) return;
    two_level::Word(reinterpret_cast<uint64_t&>(info->evtchn_pending_sel)).store(~uint64_t{0});
    request_upcall(vcpu);
}

bool port_valid(Domain& domain, Port port) {
    return domain.events->find(port) != nullptr;
}

bool port_pending(Domain& domain, Port port) {
    return port_valid(domain, port) && abi::is_pending(*domain.events, port.raw());
}

void begin_poll(Vcpu& vcpu, uint32_t port) {
    vcpu.poll_port.store(port);
    vcpu.domain->events->pollers.set(vcpu.id.raw());
}

void clear_poll(Vcpu& vcpu) {
    if (vcpu.poll_port.exchange(0)) vcpu.domain->events->pollers.clear(vcpu.id.raw());
}

}  // namespace hv::event
