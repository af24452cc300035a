// How events reach the guest: by the two-level ABI, or by FIFO queues once it has asked for them.
// The rest of the room does not know the difference.
#pragma once

#include "hv/event/fifo.hpp"
#include "hv/event/two_level.hpp"

namespace hv::event::abi {

inline Fifo* fifo_of(const EventChannels& channels) {
    return channels.fifo.load(std::memory_order_acquire);
}

/// Makes the event pending for `vcpu`.
inline Effect set_pending(EventChannels& channels, Channel& channel, Vcpu& vcpu) {
    if (Fifo* fifo = fifo_of(channels)) return fifo->set_pending(channel, vcpu);
    // A sender that lost a race against a reset: the port is gone, and beyond the shared info.
    if (channel.port >= kTwoLevelPorts) [[unlikely]]
        return 0;
    return two_level::set_pending(*channel.domain, vcpu, channel.port);
}

/// Clears the mask. True if something was pending under it and `vcpu` is owed an upcall.
inline bool unmask(EventChannels& channels, Channel& channel, Vcpu& vcpu) {
    if (Fifo* fifo = fifo_of(channels)) return fifo->unmask(channel, vcpu);
    if (channel.port >= kTwoLevelPorts) return false;
    return two_level::unmask(*channel.domain, vcpu, channel.port);
}

inline void clear_pending(EventChannels& channels, Channel& channel) {
    channel.pending_early.store(false, std::memory_order_relaxed);
    if (Fifo* fifo = fifo_of(channels)) return fifo->clear_pending(channel.port);
    if (channel.port < kTwoLevelPorts) two_level::clear_pending(channels.domain, channel.port);
}

inline bool is_pending(EventChannels& channels, uint32_t port) {
    if (Fifo* fifo = fifo_of(channels)) return fifo->is_pending(port);
    return port < kTwoLevelPorts && two_level::is_pending(channels.domain, port);
}
inline bool is_masked(EventChannels& channels, uint32_t port) {
    if (Fifo* fifo = fifo_of(channels)) return fifo->is_masked(port);
    return port < kTwoLevelPorts && two_level::is_masked(channels.domain, port);
}

/// Whether the port cannot be given out yet: the guest has not taken its last event off the queue.
inline bool is_busy(EventChannels& channels, uint32_t port) {
    Fifo* fifo = fifo_of(channels);
    return fifo && fifo->is_linked(port);
}

}  // namespace hv::event::abi
