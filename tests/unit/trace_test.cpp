// Trace buffers, read as a tool reads them: by the header and the records of <xen/trace.h>.
#include "hv/console/trace.hpp"

#include <gtest/gtest.h>

#include <random>

#include "fake/memory_machine.hpp"
#include "hv/console/trace_buffers.hpp"
#include "hv/event/event.hpp"
#include "hv/sched/softirq.hpp"

namespace hv {

bool Domain::get() {
    return ++references, true;
}
void Domain::put() {
    --references;
}

namespace {
Domain the_domain;
Vcpu the_vcpu{the_domain, VcpuId{3}};
unsigned virqs;
}  // namespace

namespace arch {
Vcpu& current() {
    return the_vcpu;
}
}  // namespace arch
namespace event {
void send_host_virq(uint32_t virq) {
    virqs += virq == VIRQ_TBUF;
}
}  // namespace event

namespace trace {
namespace {

constexpr uint32_t kPages = 2;
constexpr uint32_t kEvent = TRC_SCHED_WAKE;

struct Record {
    uint32_t event;
    bool timed;
    std::vector<uint32_t> words;
};

class TraceTest : public testing::Test {
  protected:
    // The buffers are made once, and so is the machine they lie in.
    static void SetUpTestSuite() {
        static MemoryMachine machine;
        the_domain.id = DomId{7};
        memory::describe_ram({kMiB, 64 * kMiB});
        memory::add_free_range({kMiB, 64 * kMiB});
        EXPECT_EQ(start().error(), Errno::kEINVAL);
        EXPECT_EQ(info().bytes, 0u);
        EXPECT_EQ(set_size(0).error(), Errno::kEINVAL);
        EXPECT_FALSE(is_on());
        EXPECT_TRUE(set_size(kPages));
    }
    void SetUp() override {
        header().cons = header().prod;
        stop();
        set_events(TRC_ALL);
        set_cpus(CpuMask::all());
        ASSERT_TRUE(start());
        process_softirqs();
        virqs = 0;
    }
    static t_buf& header() { return buffer_of(0)->header(); }
    static uint32_t size() { return kPages * kPageSize - sizeof(t_buf); }

    static uint32_t take_word() {
        uint32_t& at = header().cons;
        const uint32_t word = buffer_of(0)->word_at(at >= size() ? at - size() : at);
        at = (at + 4) % (2 * size());
        return word;
    }
    static std::vector<Record> read_all() {
        std::vector<Record> records;
        while (header().cons != header().prod) {
            const uint32_t head = take_word();
            Record record{head & 0xfffffff, (head >> 31) != 0, {}};
            for (unsigned i = 0; record.timed && i < 2; ++i) take_word();
            for (unsigned i = 0; i < ((head >> 28) & 7); ++i) record.words.push_back(take_word());
            if (record.event != TRC_TRACE_WRAP_BUFFER) records.push_back(record);
        }
        return records;
    }
};

TEST_F(TraceTest, SizeIsSetOnce) {
    EXPECT_EQ(set_size(kPages).error(), Errno::kEBUSY);
    EXPECT_EQ(set_size(kPages + 1).error(), Errno::kEINVAL);
    const auto& described = *arch::mfn_to_virt<t_info>(Mfn{info().mfn});
    EXPECT_EQ(described.tbuf_size, kPages);
    const auto* words = reinterpret_cast<const uint32_t*>(&described);
    EXPECT_EQ(arch::mfn_to_virt<t_buf>(Mfn{words[described.mfn_offset[0]]}), &header());
    EXPECT_EQ(*page_info(Mfn{info().mfn})->owner(), DomId{DOMID_XEN});
    EXPECT_TRUE(page_info(Mfn{info().mfn})->has(PageInfo::kReadOnly));
    EXPECT_FALSE(page_info(arch::virt_to_mfn(&header()))->has(PageInfo::kReadOnly));
}

TEST_F(TraceTest, RecordsComeBackInOrder) {
    std::mt19937 random(1);
    std::vector<Record> written;
    for (unsigned i = 0; i < 20000; ++i) {
        uint32_t words[7];
        const unsigned count = random() % 8;
        for (uint32_t& word : words) word = static_cast<uint32_t>(random());
        write(kEvent, {words, count});
        written.push_back({kEvent, true, {words, words + count}});
        // Read before it is full: 200 of the longest records fit.
        if (random() % 50 && written.size() < 200) continue;
        const auto read = read_all();
        ASSERT_EQ(read.size(), written.size());
        for (size_t n = 0; n < read.size(); ++n) {
            ASSERT_EQ(read[n].event, kEvent);
            ASSERT_TRUE(read[n].timed);
            ASSERT_EQ(read[n].words, written[n].words);
        }
        written.clear();
    }
}

TEST_F(TraceTest, SlowReaderIsToldWhatItHasLost) {
    for (unsigned i = 0; i < 1000; ++i) event(kEvent, i, i);
    const size_t kept = read_all().size();
    EXPECT_GT(kept, size() / 20 - 3);
    EXPECT_LT(kept, 1000u);
    event(kEvent, 5);
    const auto records = read_all();
    ASSERT_EQ(records.size(), 2u);
    EXPECT_EQ(records[0].event, static_cast<uint32_t>(TRC_LOST_RECORDS));
    EXPECT_EQ(records[0].words[0], 1000 - kept);
    EXPECT_EQ(records[0].words[1], 7u | 3u << 16);
    EXPECT_EQ(records[1].words[0], 5u);
}

TEST_F(TraceTest, MasksChooseEvents) {
    const auto is_written = [](uint32_t id) {
        event(id);
        return !read_all().empty();
    };
    EXPECT_TRUE(is_written(TRC_MEM_PAGE_GRANT_MAP));
    set_events(TRC_SCHED);
    EXPECT_TRUE(is_written(TRC_SCHED_WAKE));
    EXPECT_FALSE(is_written(TRC_MEM_PAGE_GRANT_MAP));
    set_events(TRC_SCHED_MIN);
    EXPECT_FALSE(is_written(TRC_SCHED_WAKE));
    EXPECT_TRUE(is_written(TRC_SCHED_RUNSTATE_CHANGE));
    set_events(0);
    EXPECT_FALSE(is_written(TRC_SCHED_RUNSTATE_CHANGE));
    set_events(TRC_ALL);
    set_cpus(CpuMask::single(5));
    EXPECT_FALSE(is_written(TRC_SCHED_WAKE));
    set_cpus(CpuMask::all());
    stop();
    EXPECT_FALSE(is_written(TRC_SCHED_WAKE));
}

TEST_F(TraceTest, ReaderIsWokenOnceWhenHalfIsFull) {
    const unsigned half = size() / 2 / 12;
    for (unsigned i = 0; i < half - 1; ++i) event(kEvent);
    EXPECT_FALSE(softirq_pending());
    for (unsigned i = 0; i < 3; ++i) event(kEvent);
    EXPECT_TRUE(softirq_pending());
    process_softirqs();
    EXPECT_EQ(virqs, 1u);
    event(kEvent);
    EXPECT_FALSE(softirq_pending());
}

TEST_F(TraceTest, LyingReaderEndsTheTrace) {
    for (const uint32_t lie : {header().prod + 3, 2 * size(), ~uint32_t{3}}) {
        header().cons = lie;
        event(kEvent);
        EXPECT_FALSE(is_on());
        header().cons = header().prod;
        ASSERT_TRUE(start());
    }
    header().cons = (header().prod + 4) % (2 * size());  // it has read what was never written
    event(kEvent);
    EXPECT_FALSE(is_on());
    header().cons = header().prod;
    header().prod = 12345;  // ours is elsewhere
    ASSERT_TRUE(start());
    event(kEvent, 1);
    EXPECT_NE(header().prod, 12345u);
}

}  // namespace
}  // namespace trace
}  // namespace hv
