// A domain's event channels: where ports live and how an event is raised. Private to hv/event.
//
//   Domain::events ─► EventChannels ─► buckets[port / 128] ─► Channel[128]
//                                                                │ peer (interdomain)
//                                                                ▼
//                                                       Channel of the other domain
//
// Writers (bind, close, move) hold the domain's event lock; for an interdomain channel both
// domains' locks, in address order. Senders hold nothing: a bucket, once there, stays until the
// domain is destroyed, which happens an RCU grace period after its ports were closed, so `peer`
// never dangles under a sender. A sender that races with a close may raise an event on a port that
// has just lost its sender. The ABI lets events be spurious, so nobody has to wait for it.
#pragma once

#include <atomic>

#include "base/lock.hpp"
#include "base/nospec.hpp"
#include "base/result.hpp"
#include "hv/domain/domain.hpp"
#include "hv/limits.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/heap.hpp"

namespace hv {

namespace event {

enum class ChannelState : uint8_t { kFree, kUnbound, kInterdomain, kPirq, kVirq, kIpi };

/// One end of an event channel. The atomic members are what senders read.
struct alignas(32) Channel {
    std::atomic<Channel*> peer;  ///< kInterdomain: the end that hears what this one sends
    Domain* domain;              ///< whose port this is
    uint32_t port;
    std::atomic<ChannelState> state;
    std::atomic<uint8_t> priority;  ///< FIFO: the queue for what comes
    std::atomic<uint16_t> vcpu;     ///< id of the vCPU that hears it; always exists
    union {
        uint16_t remote;  ///< kUnbound: id of the domain that may bind to it
        uint32_t pirq;    ///< kPirq
        uint32_t virq;    ///< kVirq
    };
    std::atomic<uint16_t> last_queue;  ///< FIFO: QueueId it was last put on
    std::atomic<bool> pending_early;   ///< FIFO: came before the word for it
    bool by_hypervisor;                ///< the guest may neither use nor close it
};
static_assert(sizeof(Channel) == 32);

inline constexpr uint32_t kChannelsPerBucket = kPageSize / sizeof(Channel);
inline constexpr uint32_t kTwoLevelPorts = 4096;  ///< 64 words of 64 bits in the shared info
inline constexpr uint32_t kFifoPorts = 131072;    ///< 17 bits of link in an event word
inline constexpr uint32_t kMaxBoundPirqs = 1024;

/// What making an event pending calls for, a set of:
using Effect = unsigned;
inline constexpr Effect kNews = 1;    ///< it was not pending before: pollers are to be told
inline constexpr Effect kUpcall = 2;  ///< its vCPU is owed an upcall

struct Bucket {
    Channel channels[kChannelsPerBucket];
};

class Fifo;

}  // namespace event

class EventChannels {
  public:
    explicit EventChannels(Domain& owner) : domain(owner) {}
    ~EventChannels();

    /// The channel of a port that has been allocated once; nullptr beyond.
    event::Channel* find(Port port) const {
        uint32_t limit = port_count.load(std::memory_order_acquire);
        if (port.raw() >= limit) return nullptr;
        auto n = static_cast<uint32_t>(base::index_nospec(port.raw(), limit));
        // Ordered after port_count: buckets below it are complete.
        event::Bucket* bucket =
            buckets[n / event::kChannelsPerBucket].load(std::memory_order_relaxed);
        return &bucket->channels[n % event::kChannelsPerBucket];
    }

    // All below: under `lock`.

    /// The lowest free port, heard by vCPU 0; it is taken as soon as the caller sets its state.
    /// kEINVAL: the domain is dying; kENOSPC: all are taken; kENOMEM.
    Result<event::Channel*> free_port();
    /// Gives a port back; whatever was pending on it is forgotten.
    void release(event::Channel& channel);
    uint32_t abi_ports() const;  ///< how many ports the ABI in use can name

    Domain& domain;
    SpinLock lock{static_cast<uint8_t>(Rank::kEvent)};
    heap::OwnedArray<std::atomic<event::Bucket*>> buckets;
    std::atomic<uint32_t> port_count{0};       ///< ports that have a bucket, within the ABI's range
    uint32_t port_limit = 0;                   ///< one above the highest port of the configuration
    uint32_t lowest_free = 1;                  ///< no port below it is free; port 0 is never used
    std::atomic<uint32_t> close_cursor{0};     ///< where a continued reset or teardown goes on
    std::atomic<event::Fifo*> fifo{nullptr};   ///< null: the two-level ABI
    AtomicBitmap<kMaxVcpusPerDomain> pollers;  ///< vCPUs in SCHEDOP_poll
    /// Port by PIRQ, 0: unbound; allocated with the first binding.
    std::atomic<std::atomic<uint32_t>*> pirq_ports{nullptr};

  private:
    Result<> add_bucket();
};

namespace event {

/// Makes an event pending on `channel` and tells its vCPU, whatever CPU that is on. Takes no lock.
void raise(Channel& channel);

/// The guest's own call to clear a mask; raises what was pending under it.
void unmask(Channel& channel);

/// Sets evtchn_upcall_pending of `vcpu` and gets it to look at it.
void request_upcall(Vcpu& vcpu);

/// Closes one port, whatever it is bound to; kEINVAL if it is not in use. Takes the locks.
Result<> close_port(Domain& domain, Port port, bool by_guest);

/// Locks the channels of two domains (perhaps the same) in address order.
class PairLock {
  public:
    PairLock(EventChannels& a, EventChannels& b)
        : first_(&a < &b ? a : b), second_(&a < &b ? b : a) {
        first_.lock.lock();
        if (&first_ != &second_) second_.lock.lock();
    }
    ~PairLock() {
        if (&first_ != &second_) second_.lock.unlock();
        first_.lock.unlock();
    }
    PairLock(const PairLock&) = delete;
    PairLock& operator=(const PairLock&) = delete;

  private:
    EventChannels& first_;
    EventChannels& second_;
};

/// Virtual interrupts of one vCPU only; all others belong to the domain and start on vCPU 0.
constexpr bool virq_is_per_vcpu(uint32_t virq) {
    return virq == VIRQ_TIMER || virq == VIRQ_DEBUG || virq == VIRQ_XENOPROF || virq == VIRQ_XENPMU;
}

}  // namespace event
}  // namespace hv
