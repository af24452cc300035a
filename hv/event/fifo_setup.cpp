// How a domain comes to the FIFO ABI and leaves it, and the pages it gives for it.
#include "arch/guest_frame.hpp"
#include "arch/memory.hpp"
#include "base/nospec.hpp"
#include "hv/event/abi.hpp"
#include "hv/event/fifo.hpp"
#include "hv/memory/page.hpp"

namespace hv::event {
namespace {

/// A frame of the domain's that we may write to; the caller owns the references.
Result<PageInfo*> take_guest_page(Domain& domain, Gfn frame) {
    Mfn mfn = TRY(arch::guest_frame_to_mfn(domain, frame));
    WritablePageRef page = TRY(WritablePageRef::take(mfn, domain.id));
    return page.release();
}

void put_guest_page(PageInfo* page) {
    page->put_simple_type();
    page->put();
}

}  // namespace

heap::Owned<Fifo> Fifo::create(Domain& domain) {
    void* place = heap::allocate(sizeof(Fifo));
    if (!place) return {};
    heap::Owned<Fifo> fifo(::new (place) Fifo(domain));
    auto queues = heap::OwnedArray<VcpuQueues*>::create(domain.max_vcpus);
    if (!queues) return {};
    fifo->queues_ = std::move(queues).value();
    for (uint32_t i = 0; i < domain.max_vcpus; ++i)
        if (!(fifo->queues_[i] = heap::create<VcpuQueues>())) return {};
    return fifo;
}

Fifo::~Fifo() {
    for (size_t i = 0; i < queues_.size(); ++i) {
        if (queues_[i] && queues_[i]->page) put_guest_page(queues_[i]->page);
        heap::destroy(queues_[i]);
    }
    for (auto& page : pages_)
        if (Word* words = page.load()) put_guest_page(page_info(arch::virt_to_mfn(words)));
}

Result<> Fifo::set_control_block(uint32_t vcpu, Gfn frame, uint32_t offset) {
    VcpuQueues& queues = *queues_[vcpu];
    if (queues.control.load()) return Errno::kEINVAL;
    queues.page = TRY(take_guest_page(domain_, frame));
    auto* start = arch::mfn_to_virt<char>(mfn_of(*queues.page));
    queues.control.store(reinterpret_cast<evtchn_fifo_control_block*>(start + offset),
                         std::memory_order_release);
    return {};
}

Result<> Fifo::add_page(Gfn frame) {
    uint32_t first = word_count_.load();
    if (first / kWordsPerPage >= kPages) return Errno::kENOSPC;
    PageInfo* page = TRY(take_guest_page(domain_, frame));
    pages_[first / kWordsPerPage].store(arch::mfn_to_virt<Word>(mfn_of(*page)),
                                        std::memory_order_relaxed);
    word_count_.store(first + kWordsPerPage, std::memory_order_release);
    return {};
}

Result<> init_control(Domain& domain, uint32_t vcpu_id, Gfn frame, uint32_t offset) {
    constexpr uint32_t kHighestOffset = kPageSize - sizeof(evtchn_fifo_control_block);
    if (!domain.vcpu(vcpu_id)) return Errno::kENOENT;
    if (offset > kHighestOffset || offset % 8) return Errno::kEINVAL;
    offset = static_cast<uint32_t>(base::index_nospec(offset, kHighestOffset + 1));
    vcpu_id = static_cast<uint32_t>(base::index_nospec(vcpu_id, domain.max_vcpus));

    EventChannels& channels = *domain.events;
    LockGuard guard(channels.lock);
    // A domain on its way out gives up its pages once, and that may have happened.
    if (domain.dying.load() != Dying::kAlive) return Errno::kEINVAL;
    if (Fifo* fifo = channels.fifo.load()) return fifo->set_control_block(vcpu_id, frame, offset);
    heap::Owned<Fifo> fifo = Fifo::create(domain);
    if (!fifo) return Errno::kENOMEM;
    TRY(fifo->set_control_block(vcpu_id, frame, offset));

    // What is pending comes along when the words of its port do.
    for (uint32_t port = 1; port < channels.port_count.load(); ++port) {
        Channel& channel = *channels.find(Port{port});
        channel.pending_early.store(two_level::is_pending(domain, port));
        channel.priority.store(EVTCHN_FIFO_PRIORITY_DEFAULT);
        channel.last_queue.store(QueueId{}.raw);
    }
    channels.fifo.store(fifo.release(), std::memory_order_release);
    return {};
}

Result<> expand_array(Domain& domain, Gfn frame) {
    EventChannels& channels = *domain.events;
    LockGuard guard(channels.lock);
    Fifo* fifo = channels.fifo.load();
    if (!fifo) return Errno::kEOPNOTSUPP;
    uint32_t first = fifo->word_count();
    TRY(fifo->add_page(frame));
    for (uint32_t port = first; port < fifo->word_count(); ++port) {
        Channel* channel = channels.find(Port{port});
        if (!channel) break;
        if (channel->pending_early.exchange(false)) raise(*channel);
    }
    return {};
}

Result<> set_priority(Domain& domain, Port port, uint32_t priority) {
    EventChannels& channels = *domain.events;
    LockGuard guard(channels.lock);
    Channel* channel = channels.find(port);
    if (!channel) return Errno::kEINVAL;
    if (!channels.fifo.load()) return Errno::kENOSYS;
    if (priority > EVTCHN_FIFO_PRIORITY_MIN) return Errno::kEINVAL;
    // For what comes from now on; an event that is queued stays where it is.
    channel->priority.store(static_cast<uint8_t>(priority));
    return {};
}

void leave_fifo(Domain& domain) {
    EventChannels& channels = *domain.events;
    Fifo* fifo;
    {
        LockGuard guard(channels.lock);
        fifo = channels.fifo.exchange(nullptr);
        if (!fifo) return;
        if (channels.port_count.load() > kTwoLevelPorts) channels.port_count.store(kTwoLevelPorts);
        channels.lowest_free = 1;
    }
    // A sender on another CPU may still be putting an event on a queue.
    call_rcu(fifo->rcu, [](RcuHead* head) { heap::destroy(static_cast<Fifo::Rcu*>(head)->fifo); });
}

}  // namespace hv::event
