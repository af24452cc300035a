// Debug key 'e': a domain's ports in use, one line each.
#include "hv/console/log.hpp"
#include "hv/event/abi.hpp"
#include "hv/event/event.hpp"

namespace hv::event {
namespace {

const char* name(ChannelState state) {
    switch (state) {
        case ChannelState::kFree:
            return "free";
        case ChannelState::kUnbound:
            return "unbound, for d";
        case ChannelState::kInterdomain:
            return "being closed, v";
        case ChannelState::kPirq:
            return "pirq ";
        case ChannelState::kVirq:
            return "virq ";
        case ChannelState::kIpi:
            return "ipi ";
    }
    return "?";
}

/// The number that goes with the state's name.
uint32_t detail(const Channel& channel, ChannelState state) {
    switch (state) {
        case ChannelState::kUnbound:
            return channel.remote;
        case ChannelState::kPirq:
            return channel.pirq;
        case ChannelState::kVirq:
            return channel.virq;
        default:
            return channel.vcpu.load();
    }
}

}  // namespace

void dump(Domain& domain) {
    if (!domain.events) return;
    EventChannels& channels = *domain.events;
    report("event channels of d{}: port, pending, masked, vcpu, bound to", domain.id);
    LockGuard guard(channels.lock);
    for (uint32_t port = 1; port < channels.port_count.load(); ++port) {
        Channel& channel = *channels.find(Port{port});
        ChannelState state = channel.state.load();
        if (state == ChannelState::kFree) continue;
        const char* pending = abi::is_pending(channels, port) ? "p" : "-";
        const char* masked = abi::is_masked(channels, port) ? "m" : "-";
        if (Channel* peer = channel.peer.load())
            report(" {:4} [{}{}] v{} to d{} port {}", port, pending, masked, channel.vcpu.load(),
                   peer->domain->id, peer->port);
        else
            report(" {:4} [{}{}] v{} {}{}", port, pending, masked, channel.vcpu.load(), name(state),
                   detail(channel, state));
    }
}

}  // namespace hv::event
