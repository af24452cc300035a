#include "hv/event/bind.hpp"

#include "arch/irq.hpp"
#include "hv/event/channels.hpp"

namespace hv::event {
namespace {

/// The vCPU that a guest named; kENOENT.
Result<Vcpu*> named_vcpu(Domain& domain, uint32_t id) {
    Vcpu* vcpu = domain.vcpu(id);
    if (!vcpu) return Errno::kENOENT;
    return vcpu;
}

/// The table from PIRQ to port, made with the first binding.
Result<std::atomic<uint32_t>*> pirq_ports(EventChannels& channels) {
    if (auto* table = channels.pirq_ports.load(std::memory_order_relaxed)) return table;
    auto* table = static_cast<std::atomic<uint32_t>*>(
        heap::allocate(kMaxBoundPirqs * sizeof(std::atomic<uint32_t>)));
    if (!table) return Errno::kENOMEM;
    channels.pirq_ports.store(table, std::memory_order_release);
    return table;
}

}  // namespace

Result<Port> alloc_unbound_port(Domain& domain, DomId remote) {
    EventChannels& channels = *domain.events;
    LockGuard guard(channels.lock);
    Channel* channel = TRY(channels.free_port());
    channel->remote = remote.raw();
    channel->state.store(ChannelState::kUnbound, std::memory_order_release);
    return Port{channel->port};
}

Result<Port> bind_interdomain(Domain& domain, Domain& remote, Port remote_port) {
    PairLock guard(*domain.events, *remote.events);
    Channel* there = remote.events->find(remote_port);
    Channel* here = TRY(domain.events->free_port());
    if (!there || there->state.load() != ChannelState::kUnbound || there->remote != domain.id.raw())
        return Errno::kEINVAL;
    // Senders test the state first and then follow the peer.
    here->peer.store(there, std::memory_order_relaxed);
    here->state.store(ChannelState::kInterdomain, std::memory_order_release);
    there->peer.store(here, std::memory_order_relaxed);
    there->state.store(ChannelState::kInterdomain, std::memory_order_release);
    raise(*here);
    return Port{here->port};
}

Result<Port> bind_virq(Domain& domain, uint32_t virq, uint32_t vcpu_id) {
    if (virq >= NR_VIRQS) return Errno::kEINVAL;
    virq = static_cast<uint32_t>(base::index_nospec(virq, NR_VIRQS));
    if (!virq_is_per_vcpu(virq) && vcpu_id != 0) return Errno::kEINVAL;
    Vcpu* vcpu = TRY(named_vcpu(domain, vcpu_id));
    EventChannels& channels = *domain.events;
    LockGuard guard(channels.lock);
    if (vcpu->virq_port[virq] != Port{}) return Errno::kEEXIST;
    Channel* channel = TRY(channels.free_port());
    channel->virq = virq;
    channel->vcpu.store(static_cast<uint16_t>(vcpu_id), std::memory_order_relaxed);
    channel->state.store(ChannelState::kVirq, std::memory_order_release);
    std::atomic_ref(vcpu->virq_port[virq]).store(Port{channel->port}, std::memory_order_release);
    return Port{channel->port};
}

Result<Port> bind_ipi(Domain& domain, uint32_t vcpu_id) {
    TRY(named_vcpu(domain, vcpu_id));
    EventChannels& channels = *domain.events;
    LockGuard guard(channels.lock);
    Channel* channel = TRY(channels.free_port());
    channel->vcpu.store(static_cast<uint16_t>(vcpu_id), std::memory_order_relaxed);
    channel->state.store(ChannelState::kIpi, std::memory_order_release);
    return Port{channel->port};
}

Result<Port> bind_pirq(Domain& domain, Pirq pirq, bool will_share) {
    if (pirq.raw() >= kMaxBoundPirqs) return Errno::kEINVAL;
    auto index = static_cast<uint32_t>(base::index_nospec(pirq.raw(), kMaxBoundPirqs));
    Vcpu* vcpu = TRY(named_vcpu(domain, 0));
    EventChannels& channels = *domain.events;
    LockGuard guard(channels.lock);
    std::atomic<uint32_t>* ports = TRY(pirq_ports(channels));
    if (ports[index].load()) return Errno::kEEXIST;
    Channel* channel = TRY(channels.free_port());
    // Everything is in place before the interrupt may come; undone if it may not.
    channel->pirq = index;
    channel->state.store(ChannelState::kPirq, std::memory_order_release);
    ports[index].store(channel->port, std::memory_order_release);
    if (Result<> bound = arch::pirq_bind(domain, pirq, *vcpu, will_share); !bound) {
        ports[index].store(0);
        channels.release(*channel);
        return Fail{bound.error()};
    }
    return Port{channel->port};
}

Result<> bind_vcpu(Domain& domain, Port port, uint32_t vcpu_id) {
    Vcpu* vcpu = TRY(named_vcpu(domain, vcpu_id));
    EventChannels& channels = *domain.events;
    LockGuard guard(channels.lock);
    Channel* channel = channels.find(port);
    if (!channel || channel->by_hypervisor) return Errno::kEINVAL;
    switch (channel->state.load()) {
        case ChannelState::kVirq:
            if (virq_is_per_vcpu(channel->virq)) return Errno::kEINVAL;
            break;
        case ChannelState::kPirq:
            if (channel->vcpu.load() != vcpu_id)
                arch::pirq_set_vcpu(domain, Pirq{channel->pirq}, *vcpu);
            break;
        case ChannelState::kUnbound:
        case ChannelState::kInterdomain:
            break;
        default:
            return Errno::kEINVAL;
    }
    channel->vcpu.store(static_cast<uint16_t>(vcpu_id), std::memory_order_release);
    return {};
}

Result<> status(Domain& domain, Port port, evtchn_status& out) {
    EventChannels& channels = *domain.events;
    LockGuard guard(channels.lock);
    Channel* channel = channels.find(port);
    if (!channel) return Errno::kEINVAL;
    if (channel->by_hypervisor) return Errno::kEACCES;
    out.vcpu = channel->vcpu.load();
    switch (channel->state.load()) {
        case ChannelState::kFree:
            out.status = EVTCHNSTAT_closed;
            break;
        case ChannelState::kUnbound:
            out.status = EVTCHNSTAT_unbound;
            out.u.unbound.dom = channel->remote;
            break;
        case ChannelState::kInterdomain: {
            Channel* peer = channel->peer.load();
            out.status = EVTCHNSTAT_interdomain;
            out.u.interdomain.dom = peer->domain->id.raw();
            out.u.interdomain.port = peer->port;
            break;
        }
        case ChannelState::kPirq:
            out.status = EVTCHNSTAT_pirq;
            out.u.pirq = channel->pirq;
            break;
        case ChannelState::kVirq:
            out.status = EVTCHNSTAT_virq;
            out.u.virq = channel->virq;
            break;
        case ChannelState::kIpi:
            out.status = EVTCHNSTAT_ipi;
            break;
    }
    return {};
}

}  // namespace hv::event
