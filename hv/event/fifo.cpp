// Events on FIFO queues. <xen/event_channel.h> has the bits of an event word and what each side
// may do to them.
#include "hv/event/fifo.hpp"

#include "arch/memory.hpp"
#include "base/nospec.hpp"

namespace hv::event {
namespace {

constexpr uint32_t kPending = uint32_t{1} << EVTCHN_FIFO_PENDING;
constexpr uint32_t kMasked = uint32_t{1} << EVTCHN_FIFO_MASKED;
constexpr uint32_t kLinked = uint32_t{1} << EVTCHN_FIFO_LINKED;
constexpr uint32_t kBusy = uint32_t{1} << EVTCHN_FIFO_BUSY;

/// How often an event's queue may change under us (each time by a hypercall of the guest's)
/// before the event is lost.
constexpr int kAttempts = 8;

}  // namespace

/// Both queues an event moves between, in address order; they may be one.
class Fifo::QueueLocks {
  public:
    QueueLocks(Queue& a, Queue& b) : first_(&a < &b ? a : b), second_(&a < &b ? b : a) {
        first_.lock.lock();
        if (&first_ != &second_) second_.lock.lock();
    }
    ~QueueLocks() {
        if (&first_ != &second_) second_.lock.unlock();
        first_.lock.unlock();
    }
    QueueLocks(const QueueLocks&) = delete;
    QueueLocks& operator=(const QueueLocks&) = delete;

  private:
    Queue& first_;
    Queue& second_;
};

Fifo::Word* Fifo::word(uint32_t port) const {
    uint32_t count = word_count_.load(std::memory_order_acquire);
    if (port >= count) return nullptr;
    auto n = static_cast<uint32_t>(base::index_nospec(port, count));
    // Ordered after the count: pages below it are there.
    return pages_[n / kWordsPerPage].load(std::memory_order_relaxed) + n % kWordsPerPage;
}

/// Makes `port` the link of the queue's tail. False: the guest has taken the tail off meanwhile,
/// so the queue is empty.
bool Fifo::link(Word& tail, uint32_t port) {
    uint32_t now = tail.load();
    bool busy = false;
    // While BUSY is set a guest that keeps to the rules does not unmask, so after that the word
    // can change only by PENDING, MASKED and LINKED going one way: a handful of times.
    for (int i = 0; i < kAttempts; ++i) {
        if (!(now & kLinked)) {
            if (busy) tail.fetch_and(~kBusy);
            return false;
        }
        uint32_t next = (now & ~(kBusy | EVTCHN_FIFO_LINK_MASK)) | port;
        if (tail.compare_exchange_strong(now, next)) return true;
        if (!busy) now = tail.fetch_or(kBusy) | kBusy;
        busy = true;
    }
    tail.fetch_and(~kBusy);  // a guest that breaks the rules loses the event
    return true;
}

/// Puts the event, whose word is marked LINKED, on the queue. True: the queue was empty and is to
/// be marked ready.
bool Fifo::append(Channel& channel, Queue& queue, evtchn_fifo_control_block& control,
                  uint8_t priority) {
    uint32_t tail = std::exchange(queue.tail, channel.port);
    if (tail && link(*word(tail), channel.port)) return false;
    std::atomic_ref<uint32_t>(control.head[priority]).store(channel.port);
    return true;
}

Effect Fifo::set_pending(Channel& channel, Vcpu& vcpu) {
    Word* w = word(channel.port);
    if (!w) {
        // Its page has not come yet; add_page() raises it then.
        channel.pending_early.store(true);
        return 0;
    }
    auto* control = queues_[vcpu.id.raw()]->control.load(std::memory_order_acquire);
    // Without a control block the guest must not have unmasked anything yet; it is its loss.
    if (!control) return 0;

    const QueueId target = QueueId::of(vcpu.id.raw(), channel.priority.load());
    for (int i = 0; i < kAttempts; ++i) {
        const QueueId last{channel.last_queue.load()};
        // An event stays on the queue it was put on until the guest takes it off, and both that
        // queue's tail and the new one's change: so both are locked, before PENDING is set, so
        // that who sees it pending finds it queued.
        QueueLocks guard(queue(last), queue(target));
        if (channel.last_queue.load() != last.raw) continue;

        const Effect news = w->fetch_or(kPending) & kPending ? 0 : kNews;
        if ((w->load() & kMasked) || (w->fetch_or(kLinked) & kLinked)) return news;
        // It was a tail that the guest has taken off: nothing may be linked behind it there.
        if (queue(last).tail == channel.port) queue(last).tail = 0;
        channel.last_queue.store(target.raw);
        if (!append(channel, queue(target), *control, target.priority())) return news;
        const uint32_t bit = uint32_t{1} << target.priority();
        const bool ready = std::atomic_ref<uint32_t>(control->ready).fetch_or(bit) & bit;
        return ready ? news : news | kUpcall;
    }
    return 0;
}

bool Fifo::unmask(Channel& channel, Vcpu& vcpu) {
    Word* w = word(channel.port);
    if (!w) return false;
    // In this order: whoever sets PENDING after our look finds the mask clear.
    w->fetch_and(~kMasked);
    return (w->load() & kPending) && (set_pending(channel, vcpu) & kUpcall);
}

void Fifo::clear_pending(uint32_t port) {
    // It may stay linked: the guest takes it off and ignores what is not pending.
    if (Word* w = word(port)) w->fetch_and(~kPending);
}

bool Fifo::is_pending(uint32_t port) const {
    const Word* w = word(port);
    return w && w->load() & kPending;
}
bool Fifo::is_masked(uint32_t port) const {
    const Word* w = word(port);
    return !w || w->load() & kMasked;
}
bool Fifo::is_linked(uint32_t port) const {
    const Word* w = word(port);
    return w && w->load() & kLinked;
}

}  // namespace hv::event
