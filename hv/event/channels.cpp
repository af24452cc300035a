// Ports: taking them, giving them back, and raising events on them.
#include "hv/event/channels.hpp"

#include <algorithm>

#include "arch/cpu.hpp"
#include "hv/event/abi.hpp"
#include "hv/event/event.hpp"
#include "hv/sched/sched.hpp"

namespace hv {

using event::Bucket;
using event::Channel;
using event::ChannelState;
using event::kChannelsPerBucket;

EventChannels::~EventChannels() {
    for (size_t i = 0; i < buckets.size(); ++i) heap::destroy(buckets[i].load());
    heap::release(pirq_ports.load());
    heap::destroy(fifo.load());
}

uint32_t EventChannels::abi_ports() const {
    return fifo.load() ? event::kFifoPorts : event::kTwoLevelPorts;
}

Result<> EventChannels::add_bucket() {
    uint32_t first = port_count.load(std::memory_order_relaxed);
    auto& slot = buckets[first / kChannelsPerBucket];
    if (!slot.load(std::memory_order_relaxed)) {
        auto* bucket = heap::create<Bucket>();
        if (!bucket) return Errno::kENOMEM;
        for (uint32_t i = 0; i < kChannelsPerBucket; ++i) {
            bucket->channels[i].domain = &domain;
            bucket->channels[i].port = first + i;
        }
        slot.store(bucket, std::memory_order_relaxed);
    }
    // find() loads the count first, so it never sees one that is ahead of its buckets.
    port_count.store(first + kChannelsPerBucket, std::memory_order_release);
    return {};
}

Result<Channel*> EventChannels::free_port() {
    if (domain.dying.load() != Dying::kAlive) return Errno::kEINVAL;
    uint32_t limit = std::min(port_limit, abi_ports());
    bool skipped = false;
    for (uint32_t port = lowest_free; port < limit; ++port) {
        if (port >= port_count.load(std::memory_order_relaxed)) TRY(add_bucket());
        Channel* channel = find(Port{port});
        if (channel->state.load(std::memory_order_relaxed) != ChannelState::kFree) continue;
        if (event::abi::is_busy(*this, port)) {
            skipped = true;
            continue;
        }
        if (!skipped) lowest_free = port;
        channel->vcpu.store(0, std::memory_order_relaxed);
        channel->priority.store(EVTCHN_FIFO_PRIORITY_DEFAULT, std::memory_order_relaxed);
        channel->by_hypervisor = false;
        return channel;
    }
    return Errno::kENOSPC;
}

void EventChannels::release(Channel& channel) {
    channel.peer.store(nullptr, std::memory_order_relaxed);
    channel.state.store(ChannelState::kFree, std::memory_order_release);
    channel.vcpu.store(0, std::memory_order_relaxed);
    // An old event must not greet the port's next user.
    event::abi::clear_pending(*this, channel);
    lowest_free = std::min(lowest_free, channel.port);
}

namespace event {
namespace {

/// Wakes the vCPUs that poll for `port`, or for several ports and have to look which it was.
[[gnu::noinline]] void wake_pollers(EventChannels& channels, uint32_t port) {
    channels.pollers.snapshot().for_each([&](size_t id) {
        Vcpu* vcpu = channels.domain.vcpu(id);
        if (!vcpu) return;
        uint32_t polled = vcpu->poll_port.load();
        if (polled == port || polled == kPollSeveral) sched::wake(*vcpu);
    });
}

/// Ends SCHEDOP_block and SCHEDOP_poll of `vcpu`, and has it look for a pending upcall.
[[gnu::always_inline]] inline void notify(Vcpu& vcpu) {
    // Read before unblocking: a vCPU that starts to run after this looks for events on its way in.
    bool running = vcpu.is_running.load();
    if (vcpu.pause_flags.load() & pause::kBlocked) sched::wake(vcpu);
    // On this CPU the way back to the guest looks for events anyway.
    if (running && &vcpu != &arch::current()) arch::kick_cpu(vcpu.cpu.load());
}

}  // namespace

void request_upcall(Vcpu& vcpu) {
    vcpu_info* info = vcpu.info.load(std::memory_order_acquire);
    if (!info) return;
    std::atomic_ref<uint8_t> pending(info->evtchn_upcall_pending);
    // A full barrier, and it pairs with the one in block_current(): either the vCPU sees the
    // pending flag before it sleeps, or we see that it blocks.
    if (pending.exchange(1)) return;  // whoever set it has told the vCPU, or is about to
    notify(vcpu);
}

/// raise(), also in line where a guest sends.
[[gnu::always_inline]] inline void raise_here(Channel& channel) {
    Domain& domain = *channel.domain;
    Vcpu* vcpu = domain.vcpus[channel.vcpu.load(std::memory_order_relaxed)];
    if (!vcpu) [[unlikely]]
        return;  // a port of a domain that is being built and has no vCPUs yet
    EventChannels& channels = *domain.events;
    const Effect effect = abi::set_pending(channels, channel, *vcpu);
    if (effect & kUpcall) request_upcall(*vcpu);
    // After the pending bit: a poller enters itself first and looks at the bit then.
    if ((effect & kNews) && !channels.pollers.empty()) [[unlikely]]
        wake_pollers(channels, channel.port);
}

void raise(Channel& channel) {
    raise_here(channel);
}

Result<> send(Domain& domain, Port port) {
    Channel* channel = domain.events->find(port);
    if (!channel || channel->by_hypervisor) return Errno::kEINVAL;
    switch (channel->state.load(std::memory_order_acquire)) {
        case ChannelState::kInterdomain:
            channel = channel->peer.load(std::memory_order_acquire);
            if (channel) break;
            return {};  // the other end is just being closed
        case ChannelState::kIpi:
            break;
        case ChannelState::kUnbound:
            return {};  // nobody listens; whoever binds finds an event (bind_interdomain)
        default:
            return Errno::kEINVAL;
    }
    raise_here(*channel);
    return {};
}

void unmask(Channel& channel) {
    Domain& domain = *channel.domain;
    Vcpu* vcpu = domain.vcpus[channel.vcpu.load(std::memory_order_relaxed)];
    if (vcpu && abi::unmask(*domain.events, channel, *vcpu)) request_upcall(*vcpu);
}

}  // namespace event
}  // namespace hv
