#include "hv/console/trace.hpp"

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/console/log.hpp"
#include "hv/console/trace_buffers.hpp"
#include "hv/domain/domain.hpp"
#include "hv/event/event.hpp"
#include "hv/sched/softirq.hpp"

namespace hv::trace {

constinit std::atomic<bool> active{false};

namespace {

// The first word of a record: event, number of words behind it, whether a time stamp comes first.
constexpr unsigned kWordsShift = 28;
constexpr uint32_t kHasTime = uint32_t{1} << 31;
constexpr uint32_t kMaxWords = 7;
constexpr uint32_t kHeaderBytes = 4, kTimeBytes = 8;
constexpr uint32_t kLostWords = 4;
constexpr uint32_t kLostBytes = kHeaderBytes + kTimeBytes + 4 * kLostWords;

constinit std::atomic<uint32_t> event_mask{TRC_ALL};
constinit CpuMask cpu_mask = CpuMask::all();

/// Written by its CPU only, with interrupts off: no lock.
struct Writer {
    uint32_t produced = 0;  ///< our own copy of t_buf::prod, which the tools could change
    std::atomic<uint32_t> lost{0};
    uint64_t first_lost = 0;  ///< time stamp
};
constinit PerCpu<Writer> writers;

/// Class and subclass have to be among those wished for, as well as one of the event's other bits.
bool is_wanted(uint32_t event, CpuId cpu) {
    const uint32_t both = event_mask.load(std::memory_order_relaxed) & event;
    constexpr uint32_t kSubclass = 0xf;
    return both && (both >> TRC_CLS_SHIFT) && ((both >> TRC_SUBCLS_SHIFT) & kSubclass) &&
           cpu_mask.test(cpu);
}

/// Appends the words of records; `produced` runs to twice the size of the data, as the ABI wants.
class Appender {
  public:
    Appender(const Buffer& buffer, Writer& writer) : buffer_(buffer), writer_(writer) {}

    uint32_t until_end() const { return buffer_.data_bytes() - place(); }

    void record(uint32_t event, std::span<const uint32_t> words, bool with_time = true) {
        put(event | static_cast<uint32_t>(words.size()) << kWordsShift |
            (with_time ? kHasTime : 0));
        if (with_time) {
            const uint64_t time = arch::cycles();
            put(low(time));
            put(high(time));
        }
        for (const uint32_t word : words) put(word);
    }
    /// A record never crosses the end of the data: one of no meaning fills the rest.
    void fill_to_end() {
        static constexpr uint32_t kNothing[kMaxWords] = {};
        uint32_t words = (until_end() - kHeaderBytes) / 4;
        const bool with_time = words > kMaxWords;
        if (with_time) words -= kTimeBytes / 4;
        record(TRC_TRACE_WRAP_BUFFER, {kNothing, words}, with_time);
    }

  private:
    uint32_t place() const {
        const uint32_t size = buffer_.data_bytes();
        return writer_.produced >= size ? writer_.produced - size : writer_.produced;
    }
    void put(uint32_t word) {
        buffer_.word_at(place()) = word;
        writer_.produced += 4;
        if (writer_.produced == 2 * buffer_.data_bytes()) writer_.produced = 0;
    }

    const Buffer& buffer_;
    Writer& writer_;
};

/// How much of the buffer has not been read yet. What the reader says may be anything.
Result<uint32_t> unread_bytes(const Buffer& buffer, const Writer& writer) {
    const uint32_t size = buffer.data_bytes();
    const uint32_t consumed = __atomic_load_n(&buffer.header().cons, __ATOMIC_ACQUIRE);
    if (consumed % 4 || consumed >= 2 * size) return Errno::kEINVAL;
    uint32_t unread = writer.produced - consumed;
    if (writer.produced < consumed) unread += 2 * size;
    if (unread > size) return Errno::kEINVAL;
    return unread;
}

/// What writing `bytes` takes if the data's end comes after `left`; moves `left` on.
uint32_t cost(uint32_t bytes, uint32_t& left, uint32_t size) {
    const uint32_t filler = bytes > left ? left : 0;
    if (filler) left = size;
    left -= bytes;
    if (left == 0) left = size;
    return filler + bytes;
}

void write_lost(Appender& to, Writer& writer) {
    const Vcpu& vcpu = arch::current();
    const uint32_t who = vcpu.domain->id.raw() | uint32_t{vcpu.id.raw()} << 16;
    const uint32_t words[kLostWords] = {writer.lost.exchange(0), who, low(writer.first_lost),
                                        high(writer.first_lost)};
    if (to.until_end() < kLostBytes) to.fill_to_end();
    to.record(TRC_LOST_RECORDS, words);
}

void write_to(const Buffer& buffer, Writer& writer, uint32_t event,
              std::span<const uint32_t> words) {
    const auto unread = unread_bytes(buffer, writer);
    if (!unread) {
        active.store(false);
        log(LogLevel::kWarning, "tracing stops: a reader has spoilt the buffer of CPU {}",
            arch::this_cpu());
        return;
    }
    const uint32_t size = buffer.data_bytes();
    const uint32_t bytes = kHeaderBytes + kTimeBytes + 4 * static_cast<uint32_t>(words.size());
    Appender to(buffer, writer);
    uint32_t left = to.until_end();
    uint32_t wanted = 0;
    if (writer.lost.load(std::memory_order_relaxed)) wanted += cost(kLostBytes, left, size);
    wanted += cost(bytes, left, size);
    if (wanted > size - *unread) {
        if (writer.lost.fetch_add(1) == 0) writer.first_lost = arch::cycles();
        return;
    }
    if (writer.lost.load(std::memory_order_relaxed)) write_lost(to, writer);
    if (to.until_end() < bytes) to.fill_to_end();
    to.record(event, words);
    __atomic_store_n(&buffer.header().prod, writer.produced, __ATOMIC_RELEASE);
    // The reader is woken once it is half full; not from here, which may be inside of anything.
    if (*unread < size / 2 && *unread + wanted >= size / 2) raise_softirq(Softirq::kTrace);
}

}  // namespace

void write(uint32_t event, std::span<const uint32_t> words) {
    const CpuId cpu = arch::this_cpu();
    const Buffer* buffer = buffer_of(cpu);
    if (buffer && is_wanted(event, cpu)) write_to(*buffer, writers.on(cpu), event, words);
}

Result<> set_size(uint32_t pages) {
    TRY(make_buffers(pages));
    set_softirq_handler(Softirq::kTrace, [] { event::send_host_virq(VIRQ_TBUF); });
    return start();
}

Result<> start() {
    if (!info().bytes) return Errno::kEINVAL;
    active.store(true);
    return {};
}

void stop() {
    active.store(false);
    // Or the next one who traces would be told of records that nobody wanted.
    arch::online_cpus().for_each(
        [](size_t cpu) { writers.on(static_cast<CpuId>(cpu)).lost.store(0); });
}

void set_cpus(const CpuMask& cpus) {
    cpu_mask = cpus;
}
void set_events(uint32_t mask) {
    event_mask.store(mask);
}
uint32_t events() {
    return event_mask.load();
}

}  // namespace hv::trace
