// Closing ports: one, or all of a domain.
#include "arch/irq.hpp"
#include "hv/event/bind.hpp"
#include "hv/event/channels.hpp"
#include "hv/hypercall/outcome.hpp"

namespace hv::event {
namespace {

/// The other end goes back to where it was before we bound to it: we may bind again.
void disconnect(Channel& channel, Channel& peer) {
    peer.remote = channel.domain->id.raw();
    peer.state.store(ChannelState::kUnbound, std::memory_order_release);
    peer.peer.store(nullptr, std::memory_order_relaxed);
}

void unbind_virq(Channel& channel) {
    // A global VIRQ is entered at vCPU 0, whichever hears it; a per-vCPU one cannot move.
    uint32_t owner = virq_is_per_vcpu(channel.virq) ? channel.vcpu.load() : 0;
    Vcpu* vcpu = channel.domain->vcpu(owner);
    std::atomic_ref(vcpu->virq_port[channel.virq]).store(Port{});
}

void unbind_pirq(EventChannels& channels, Channel& channel) {
    channels.pirq_ports.load()[channel.pirq].store(0);
    arch::pirq_unbind(channels.domain, Pirq{channel.pirq});
}

Result<> close_locked(EventChannels& channels, Channel& channel, Channel* peer, bool by_guest) {
    if (channel.by_hypervisor && by_guest) return Errno::kEINVAL;
    switch (channel.state.load()) {
        case ChannelState::kFree:
            return Errno::kEINVAL;
        case ChannelState::kInterdomain:
            disconnect(channel, *peer);
            break;
        case ChannelState::kVirq:
            unbind_virq(channel);
            break;
        case ChannelState::kPirq:
            unbind_pirq(channels, channel);
            break;
        case ChannelState::kUnbound:
        case ChannelState::kIpi:
            break;
    }
    channels.release(channel);
    return {};
}

}  // namespace

Result<> close_port(Domain& domain, Port port, bool by_guest) {
    EventChannels& channels = *domain.events;
    Channel* channel = channels.find(port);
    if (!channel) return Errno::kEINVAL;
    for (;;) {
        Channel* peer = channel->peer.load(std::memory_order_acquire);
        PairLock guard(channels, peer ? *peer->domain->events : channels);
        // Bound or closed by another vCPU before we had the locks: which locks we need has changed.
        if (channel->peer.load() != peer) continue;
        return close_locked(channels, *channel, peer, by_guest);
    }
}

bool close_all_ports(Domain& domain, bool by_guest) {
    constexpr uint32_t kPortsPerLook = 64;
    EventChannels& channels = *domain.events;
    uint32_t port = channels.close_cursor.load();
    for (; port < channels.port_count.load(); ++port) {
        // Most ports are free and cost next to nothing; those in use take two locks.
        (void)close_port(domain, Port{port}, by_guest);
        if (port % kPortsPerLook == kPortsPerLook - 1 && preempt_requested()) {
            channels.close_cursor.store(port + 1);
            return true;
        }
    }
    channels.close_cursor.store(0);
    return false;
}

}  // namespace hv::event
