// The FIFO ABI: an event word for each port in pages that the guest gives (the event array), and
// for each vCPU a control block with a queue head for each of 16 priorities.
//
//   control block: ready ─► head[p] ─► word(port a).link ─► word(port b).link ─► 0
//                                          LINKED               LINKED (the tail)
//
// We put events at the tail, the guest takes them from the head. A word that is linked may be
// changed by the guest at any moment, though only so: MASKED either way, PENDING and LINKED
// cleared. All that follows from its words is checked by us or hurts only itself: a link is
// never followed here, only written.
#pragma once

#include <cstdint>

#include <xen/event_channel.h>

#include "hv/event/channels.hpp"
#include "hv/sched/rcu.hpp"

namespace hv::event {

/// Which queue an event was last put on. One word, so that it is read whole.
struct QueueId {
    uint16_t raw = 0;
    static QueueId of(uint32_t vcpu, uint8_t priority) {
        return {static_cast<uint16_t>(vcpu << 4 | priority)};
    }
    uint32_t vcpu() const { return raw >> 4; }
    uint8_t priority() const { return raw & 15; }
};
static_assert(kMaxVcpusPerDomain <= 1 << 12 && EVTCHN_FIFO_MAX_QUEUES == 16);

class Fifo {
  public:
    static constexpr uint32_t kWordsPerPage = kPageSize / sizeof(event_word_t);
    static constexpr uint32_t kPages = EVTCHN_FIFO_NR_CHANNELS / kWordsPerPage;

    /// For all the vCPUs that `domain` may have, with no words yet; nullptr when out of memory.
    static heap::Owned<Fifo> create(Domain& domain);
    ~Fifo();  ///< gives the guest its pages back

    // Under the domain's event lock:

    /// The control block of a vCPU. kEINVAL: it has one, or the frame is not a writable one.
    Result<> set_control_block(uint32_t vcpu, Gfn frame, uint32_t offset);
    /// One more page of words. kENOSPC: all there can be; kEINVAL: not a writable frame.
    Result<> add_page(Gfn frame);
    uint32_t word_count() const { return word_count_.load(std::memory_order_acquire); }

    // By anyone, as in two_level.hpp:

    Effect set_pending(Channel& channel, Vcpu& vcpu);
    bool unmask(Channel& channel, Vcpu& vcpu);
    void clear_pending(uint32_t port);
    bool is_pending(uint32_t port) const;
    bool is_masked(uint32_t port) const;
    bool is_linked(uint32_t port) const;

    /// Senders may be here while the guest returns to the two-level ABI.
    struct Rcu : RcuHead {
        Fifo* fifo = nullptr;
    } rcu;

  private:
    using Word = std::atomic<uint32_t>;

    struct Queue {
        SpinLock lock{static_cast<uint8_t>(Rank::kEventQueue)};
        uint32_t tail = 0;  ///< port put on last; 0: none
    };
    struct VcpuQueues {
        std::atomic<evtchn_fifo_control_block*> control{nullptr};
        PageInfo* page = nullptr;  ///< of the control block
        Queue queues[EVTCHN_FIFO_MAX_QUEUES];
    };
    class QueueLocks;

    explicit Fifo(Domain& domain) : domain_(domain) { rcu.fifo = this; }
    Word* word(uint32_t port) const;
    Queue& queue(QueueId id) { return queues_[id.vcpu()]->queues[id.priority()]; }
    bool append(Channel& channel, Queue& queue, evtchn_fifo_control_block& control,
                uint8_t priority);
    static bool link(Word& tail, uint32_t port);

    Domain& domain_;
    heap::OwnedArray<VcpuQueues*> queues_;  // by vCPU id
    std::atomic<uint32_t> word_count_{0};
    std::atomic<Word*> pages_[kPages] = {};  // in the direct map; hold references
};

/// EVTCHNOP_init_control: the first one takes the domain to the FIFO ABI.
/// kENOENT: no such vCPU; kEINVAL: bad frame or offset; kENOMEM.
Result<> init_control(Domain& domain, uint32_t vcpu, Gfn frame, uint32_t offset);
/// EVTCHNOP_expand_array. kEOPNOTSUPP: the domain uses the two-level ABI; see add_page().
Result<> expand_array(Domain& domain, Gfn frame);
/// EVTCHNOP_set_priority. kENOSYS: two-level has none; kEINVAL: no such port or priority.
Result<> set_priority(Domain& domain, Port port, uint32_t priority);
/// Back to the two-level ABI, with all ports closed.
void leave_fifo(Domain& domain);

}  // namespace hv::event
