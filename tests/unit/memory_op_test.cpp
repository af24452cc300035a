// memory_op as a PV domain calls it: counts, M2P and lists stay right whatever fails on the way.
#include <gtest/gtest.h>

#include <xen/xen.h>

#include <xen/errno.h>
#include <xen/memory.h>

#include <map>
#include <random>
#include <set>
#include <vector>

#include "boot/memory_map.hpp"
#include "fake/memory_machine.hpp"
#include "fake/no_trace.hpp"
#include "hv/grant/grant.hpp"
#include "hv/hypercall/handlers.hpp"

namespace hv {

bool Domain::get() {
    return ++references, true;
}
void Domain::put() {
    --references;
}
Result<DomainRef> Domain::find(DomId id) {
    Domain* domain = domain_table::peek(id);
    if (!domain) return Errno::kESRCH;
    domain->get();
    return DomainRef::adopt(domain);
}

namespace {
Vcpu* current_vcpu;
uint64_t bad_address;  ///< guest memory that faults
}  // namespace

Result<DomainRef> Domain::find_or_self(DomId id) {
    return find(id == DomId{DOMID_SELF} ? current_vcpu->domain->id : id);
}

namespace arch {
Vcpu& current() {
    return *current_vcpu;
}
Result<> copy_from_guest(void* to, uint64_t linear, size_t bytes) {
    if (linear < kPageSize || linear == bad_address) return Errno::kEFAULT;
    memcpy(to, reinterpret_cast<void*>(linear), bytes);
    return {};
}
Result<> copy_to_guest(uint64_t linear, const void* from, size_t bytes) {
    if (linear < kPageSize || linear == bad_address) return Errno::kEFAULT;
    memcpy(reinterpret_cast<void*>(linear), from, bytes);
    return {};
}
}  // namespace arch

namespace grant {
Result<Mfn> table_frame(Domain&, uint32_t index, bool status) {
    if (status || index >= 40) return Errno::kEINVAL;
    return Mfn{1000 + index};
}
uint32_t max_frames(Domain&) {
    return 40;
}
}  // namespace grant

namespace boot {
std::span<const MemoryRegion> memory_map() {
    static constexpr MemoryRegion kMap[] = {{0, 0x9fc00, 1}, {0x100000, 0x3ff00000, 1}};
    return kMap;
}
}  // namespace boot

Outcome continue_with(std::initializer_list<uint64_t> args) {
    Continuation& c = current_vcpu->continuation;
    c.count = 0;
    for (uint64_t arg : args) c.args[c.count++] = arg;
    Outcome outcome;
    outcome.again = true;
    return outcome;
}

namespace {

class MemoryOpTest : public testing::Test {
  protected:
    MemoryOpTest() {
        memory::add_free_range({32 * kMiB, 128 * kMiB});
        for (uint16_t id : {0, 5}) {
            Domain& d = id ? guest_ : dom0_;
            d.id = DomId{id};
            d.privileged = id == 0;
            d.pages.unlocked().max = 5000;
            EXPECT_TRUE(domain_table::enter(d));
        }
        current_vcpu = &dom0_vcpu_;
        bad_address = 0;
        free_ = memory::free_pages();
    }
    ~MemoryOpTest() override {
        for (Domain* d : {&dom0_, &guest_}) {
            Mfn cursor{0};
            machine_.preempt_after = 0;
            EXPECT_FALSE(*memory::relinquish_frames(*d, cursor));
            domain_table::leave(*d);
        }
        EXPECT_EQ(memory::free_pages(), free_);
    }
    /// Calls until it is done, as the guest's hypercall instruction does.
    template <class T>
    int64_t call(uint64_t command, T& argument) {
        for (continuations_ = 0;; ++continuations_) {
            const auto address = reinterpret_cast<uint64_t>(&argument);
            Outcome outcome = do_memory_op(command, address, 0, 0, 0);
            if (!outcome.again) return outcome.value;
            command = current_vcpu->continuation.args[0];
            machine_.preempt_after = preempt_every_;
        }
    }
    xen_memory_reservation_t reservation(std::vector<xen_pfn_t>& list, unsigned order = 0,
                                         uint16_t domid = DOMID_SELF) {
        xen_memory_reservation_t r{};
        set_xen_guest_handle(r.extent_start, list.data());
        r.nr_extents = list.size();
        r.extent_order = order;
        r.domid = domid;
        return r;
    }
    uint64_t total(Domain& d) { return d.pages.unlocked().total; }

    MemoryMachine machine_;
    Domain dom0_, guest_;
    Vcpu dom0_vcpu_{dom0_, VcpuId{0}}, guest_vcpu_{guest_, VcpuId{0}};
    unsigned continuations_ = 0, preempt_every_ = 0;
    uint64_t free_;
};

TEST_F(MemoryOpTest, PopulateTellsFramesAndSetsTheM2p) {
    std::vector<xen_pfn_t> list = {100, 200, 300};
    auto r = reservation(list, 1);
    EXPECT_EQ(call(XENMEM_populate_physmap, r), 3);
    EXPECT_EQ(total(dom0_), 6u);
    for (int i = 0; i < 3; ++i) {
        const Mfn mfn{list[static_cast<size_t>(i)]};
        EXPECT_EQ(arch::get_m2p(mfn), static_cast<uint64_t>(100 * (i + 1)));
        EXPECT_EQ(arch::get_m2p(mfn + 1), static_cast<uint64_t>(100 * (i + 1) + 1));
        EXPECT_TRUE(page_info(mfn)->owned_by(DomId{0}));
    }
    EXPECT_EQ(call(XENMEM_decrease_reservation, r), 3);
    EXPECT_EQ(total(dom0_), 0u);
}

TEST_F(MemoryOpTest, LongListIsContinued) {
    std::vector<xen_pfn_t> list(1000);
    for (size_t i = 0; i < list.size(); ++i) list[i] = i;
    preempt_every_ = machine_.preempt_after = 1;
    auto r = reservation(list);
    EXPECT_EQ(call(XENMEM_populate_physmap, r), 1000);
    EXPECT_GT(continuations_, 10u);
    EXPECT_EQ(total(dom0_), 1000u);
    machine_.preempt_after = 1;
    EXPECT_EQ(call(XENMEM_decrease_reservation, r), 1000);
    EXPECT_GT(continuations_, 10u);
}

TEST_F(MemoryOpTest, StopsWhereItFailsAndKeepsNothingOfThatExtent) {
    std::vector<xen_pfn_t> list(10, 7);
    auto r = reservation(list);
    guest_.pages.unlocked().max = 4;
    r.domid = 5;
    EXPECT_EQ(call(XENMEM_populate_physmap, r), 4);
    EXPECT_EQ(total(guest_), 4u);
    r.domid = DOMID_SELF;
    bad_address = reinterpret_cast<uint64_t>(&list[6]);
    EXPECT_EQ(call(XENMEM_populate_physmap, r), 6);
    EXPECT_EQ(total(dom0_), 6u);
}

TEST_F(MemoryOpTest, ProgressCanBeALie) {
    std::vector<xen_pfn_t> list(4, 7);
    auto r = reservation(list);
    EXPECT_EQ(call(XENMEM_populate_physmap | uint64_t{900} << 6, r), 900);
    EXPECT_EQ(total(dom0_), 0u);
    r.nr_extents = uint64_t{1} << 40;
    EXPECT_EQ(call(XENMEM_populate_physmap, r), 0);
    EXPECT_EQ(call(XENMEM_maximum_ram_page | uint64_t{1} << 6, r), -XEN_EINVAL);
}

TEST_F(MemoryOpTest, GuestIsBoundToItselfAndToSmallExtents) {
    current_vcpu = &guest_vcpu_;
    std::vector<xen_pfn_t> list(1, 7);
    auto foreign = reservation(list, 0, 0);
    EXPECT_EQ(call(XENMEM_populate_physmap, foreign), 0);
    auto large = reservation(list, 10);
    EXPECT_EQ(call(XENMEM_populate_physmap, large), 0);
    auto own = reservation(list, 9);
    EXPECT_EQ(call(XENMEM_populate_physmap, own), 1);
    EXPECT_EQ(total(guest_), 512u);
}

TEST_F(MemoryOpTest, GivesUpOnlyWhatItHas) {
    std::vector<xen_pfn_t> list = {1, ~uint64_t{0}, uint64_t{1} << 52, 0x2000};
    for (size_t i = 0; i < list.size(); ++i) {
        std::vector<xen_pfn_t> one = {list[i]};
        auto r = reservation(one);
        EXPECT_EQ(call(XENMEM_decrease_reservation, r), 0);
    }
    std::vector<xen_pfn_t> theirs = {0};
    auto r = reservation(theirs, 0, 5);
    ASSERT_EQ(call(XENMEM_populate_physmap, r), 1);
    r.domid = DOMID_SELF;
    EXPECT_EQ(call(XENMEM_decrease_reservation, r), 0);
    EXPECT_EQ(total(guest_), 1u);
}

TEST_F(MemoryOpTest, MappedFrameStaysUntilItIsUnmapped) {
    std::vector<xen_pfn_t> list = {0};
    auto r = reservation(list);
    ASSERT_EQ(call(XENMEM_populate_physmap, r), 1);
    {
        auto mapping = PageRef::take(Mfn{list[0]}, DomId{0});
        EXPECT_EQ(call(XENMEM_decrease_reservation, r), 1);
        EXPECT_EQ(total(dom0_), 1u);
        EXPECT_EQ(call(XENMEM_decrease_reservation, r), 0) << "twice";
    }
    EXPECT_EQ(total(dom0_), 0u);
}

class ExchangeTest : public MemoryOpTest {
  protected:
    std::vector<xen_pfn_t> populate(size_t count, unsigned order = 0) {
        std::vector<xen_pfn_t> list(count);
        for (size_t i = 0; i < count; ++i) list[i] = 0x500 + (i << order);
        auto r = reservation(list, order);
        EXPECT_EQ(call(XENMEM_populate_physmap, r), static_cast<int64_t>(count));
        return list;
    }
    xen_memory_exchange_t exchange(std::vector<xen_pfn_t>& in, unsigned in_order,
                                   std::vector<xen_pfn_t>& out, unsigned out_order) {
        xen_memory_exchange_t x{};
        x.in = reservation(in, in_order);
        x.out = reservation(out, out_order);
        return x;
    }
};

TEST_F(ExchangeTest, SinglesBecomeABlockAndBack) {
    auto singles = populate(16);
    std::vector<xen_pfn_t> block = {0x900};
    auto x = exchange(singles, 0, block, 4);
    EXPECT_EQ(call(XENMEM_exchange, x), 0);
    EXPECT_EQ(x.nr_exchanged, 16u);
    EXPECT_EQ(total(dom0_), 16u);
    EXPECT_EQ(block[0] % 16, 0u);
    for (uint64_t i = 0; i < 16; ++i) {
        EXPECT_EQ(arch::get_m2p(Mfn{block[0] + i}), 0x900 + i);
        EXPECT_FALSE(page_info(Mfn{singles[i]})->owned_by(DomId{0}));
        EXPECT_EQ(arch::get_m2p(Mfn{singles[i]}), arch::kInvalidM2p);
    }
    std::vector<xen_pfn_t> again(16);
    for (uint64_t i = 0; i < 16; ++i) again[i] = 0x700 + i;
    auto y = exchange(block, 4, again, 0);
    EXPECT_EQ(call(XENMEM_exchange, y), 0);
    EXPECT_EQ(total(dom0_), 16u);
    for (uint64_t i = 0; i < 16; ++i) EXPECT_EQ(arch::get_m2p(Mfn{again[i]}), 0x700 + i);
}

TEST_F(ExchangeTest, RespectsTheWidthOfAddresses) {
    auto singles = populate(4);
    std::vector<xen_pfn_t> block = {0x900};
    auto x = exchange(singles, 0, block, 2);
    x.out.mem_flags = XENMEMF_address_bits(26);
    EXPECT_EQ(call(XENMEM_exchange, x), 0);
    EXPECT_LT(block[0], uint64_t{1} << (26 - 12));
}

TEST_F(ExchangeTest, FailedChunkIsUndone) {
    auto singles = populate(8);
    for (int broken : {0, 3, 7}) {
        auto in = singles;
        in[static_cast<size_t>(broken)] = 0x1;  // not its frame
        std::vector<xen_pfn_t> block = {0x900};
        auto x = exchange(in, 0, block, 3);
        EXPECT_EQ(call(XENMEM_exchange, x), -XEN_EINVAL);
        EXPECT_EQ(x.nr_exchanged, 0u);
        EXPECT_EQ(total(dom0_), 8u);
        for (size_t i = 0; i < 8; ++i) {
            EXPECT_TRUE(page_info(Mfn{singles[i]})->owned_by(DomId{0}));
            EXPECT_EQ(arch::get_m2p(Mfn{singles[i]}), 0x500 + i) << "the M2P still knows";
        }
    }
    auto mapping = PageRef::take(Mfn{singles[5]}, DomId{0});
    std::vector<xen_pfn_t> block = {0x900};
    auto x = exchange(singles, 0, block, 3);
    EXPECT_EQ(call(XENMEM_exchange, x), -XEN_EBUSY);
    EXPECT_EQ(total(dom0_), 8u);
}

TEST_F(ExchangeTest, SaysHowFarItCame) {
    auto singles = populate(12);
    singles[9] = 1;
    std::vector<xen_pfn_t> blocks = {0x900, 0xa00, 0xb00};
    auto x = exchange(singles, 0, blocks, 2);
    EXPECT_EQ(call(XENMEM_exchange, x), -XEN_EINVAL);
    EXPECT_EQ(x.nr_exchanged, 8u);
    EXPECT_EQ(total(dom0_), 12u);
    EXPECT_EQ(blocks[2], 0xb00u) << "untouched";
}

TEST_F(ExchangeTest, IsContinued) {
    auto singles = populate(64);
    std::vector<xen_pfn_t> out(64, 0x900);
    auto x = exchange(singles, 0, out, 0);
    preempt_every_ = machine_.preempt_after = 3;
    EXPECT_EQ(call(XENMEM_exchange, x), 0);
    EXPECT_GT(continuations_, 5u);
    EXPECT_EQ(total(dom0_), 64u);
}

TEST_F(ExchangeTest, RefusesWhatDoesNotAddUp) {
    auto singles = populate(4);
    std::vector<xen_pfn_t> block = {0x900};
    auto x = exchange(singles, 0, block, 3);
    EXPECT_EQ(call(XENMEM_exchange, x), -XEN_EINVAL);
    x = exchange(singles, 0, block, 2);
    x.nr_exchanged = 5;
    EXPECT_EQ(call(XENMEM_exchange, x), -XEN_EINVAL);
    x = exchange(singles, 0, block, 2);
    x.in.extent_order = 63;
    EXPECT_EQ(call(XENMEM_exchange, x), -XEN_EPERM);
    x = exchange(singles, 0, block, 2);
    x.out.domid = 5;
    EXPECT_EQ(call(XENMEM_exchange, x), -XEN_EINVAL);
    EXPECT_EQ(total(dom0_), 4u);
}

// ---- questions ----

/// Takes all free frames but `left`.
class Shortage {
  public:
    explicit Shortage(uint64_t left) {
        while (auto mfn = memory::alloc_frames(0)) held_.push_back(*mfn);
        for (; left; --left, held_.pop_back()) memory::free_frames(held_.back(), 0);
    }
    ~Shortage() {
        for (Mfn mfn : held_) memory::free_frames(mfn, 0);
    }

  private:
    std::vector<Mfn> held_;
};

TEST_F(MemoryOpTest, PopulateStopsWhereverMemoryEnds) {
    for (uint64_t left = 0; left <= 8; ++left) {
        const Shortage shortage(left);
        std::vector<xen_pfn_t> list = {1, 2, 3, 4, 5, 6, 7, 8};
        const auto wanted = list;
        auto r = reservation(list);
        EXPECT_EQ(call(XENMEM_populate_physmap, r), static_cast<int64_t>(left));
        EXPECT_EQ(total(dom0_), left);
        EXPECT_EQ(memory::free_pages(), 0u);
        for (size_t i = left; i < list.size(); ++i) EXPECT_EQ(list[i], wanted[i]) << "untouched";
        list.resize(left);
        r = reservation(list);
        EXPECT_EQ(call(XENMEM_decrease_reservation, r), static_cast<int64_t>(left));
        EXPECT_EQ(memory::free_pages(), left);
    }
}

TEST_F(ExchangeTest, GivesBackWhereverMemoryEnds) {
    auto pairs = populate(8);
    for (uint64_t left = 0; left < 8; ++left) {
        const Shortage shortage(left);
        auto in = pairs;
        std::vector<xen_pfn_t> block = {0x900};
        auto x = exchange(in, 0, block, 3);  // eight frames in a row: there are none
        EXPECT_EQ(call(XENMEM_exchange, x), -XEN_ENOMEM);
        EXPECT_EQ(x.nr_exchanged, 0u);
        EXPECT_EQ(total(dom0_), 8u);
        EXPECT_EQ(memory::free_pages(), left);
        for (size_t i = 0; i < 8; ++i) EXPECT_EQ(arch::get_m2p(Mfn{pairs[i]}), 0x500 + i);
    }
}

TEST_F(MemoryOpTest, AnswersQuestions) {
    EXPECT_EQ(call(XENMEM_maximum_ram_page, dom0_), 128 * 256);
    xen_memory_domain who{5};
    EXPECT_EQ(call(XENMEM_maximum_reservation, who), 5000);
    EXPECT_EQ(call(XENMEM_current_reservation, who), 0);
    who.domid = 77;
    EXPECT_EQ(call(XENMEM_current_reservation, who), -XEN_ESRCH);
    current_vcpu = &guest_vcpu_;
    who.domid = 0;
    EXPECT_EQ(call(XENMEM_current_reservation, who), -XEN_EPERM);
    EXPECT_EQ(call(63, who), -XEN_ENOSYS);
}

TEST_F(MemoryOpTest, FramesOfTheM2p) {
    memory::describe_ram({2 * kGiB, 3 * kGiB});
    std::vector<xen_pfn_t> frames(4, 7);
    xen_machphys_mfn_list_t list{};
    set_xen_guest_handle(list.extent_start, frames.data());
    list.max_extents = 4;
    EXPECT_EQ(call(XENMEM_machphys_mfn_list, list), 0);
    EXPECT_EQ(list.nr_extents, 3u) << "up to the highest RAM";
    // In a hole the block before (fake/memory_machine.hpp: GiB 1 has none).
    EXPECT_EQ(frames, (std::vector<xen_pfn_t>{512, 512, 3 * 512, 7}));
}

TEST_F(MemoryOpTest, MemoryMaps) {
    MemoryMapEntry entries[8] = {};
    xen_memory_map_t map{8, {}};
    set_xen_guest_handle(map.buffer, static_cast<void*>(entries));
    EXPECT_EQ(call(XENMEM_machine_memory_map, map), 0);
    EXPECT_EQ(map.nr_entries, 2u);
    EXPECT_EQ(entries[1].start, 0x100000u);
    map.nr_entries = 1;
    EXPECT_EQ(call(XENMEM_machine_memory_map, map), -XEN_EINVAL);

    EXPECT_EQ(call(XENMEM_memory_map, map), -XEN_ENOSYS) << "it has none";
    xen_foreign_memory_map_t foreign{5, {2, {}}};
    set_xen_guest_handle(foreign.map.buffer, static_cast<void*>(entries));
    entries[0] = {0, 0x8000000, 1};
    EXPECT_EQ(call(XENMEM_set_memory_map, foreign), 0);
    foreign.map.nr_entries = 129;
    EXPECT_EQ(call(XENMEM_set_memory_map, foreign), -XEN_EINVAL);
    current_vcpu = &guest_vcpu_;
    entries[0] = {};
    map.nr_entries = 8;
    EXPECT_EQ(call(XENMEM_memory_map, map), 0);
    EXPECT_EQ(map.nr_entries, 2u);
    EXPECT_EQ(entries[0].bytes, 0x8000000u);
    EXPECT_EQ(call(XENMEM_machine_memory_map, map), -XEN_EPERM);
    guest_.memory_map.unlocked() = {};
}

TEST_F(MemoryOpTest, GrantTableAsAResource) {
    xen_mem_acquire_resource_t x{};
    x.domid = 5;
    x.type = XENMEM_resource_grant_table;
    EXPECT_EQ(call(XENMEM_acquire_resource, x), 0);
    EXPECT_EQ(x.nr_frames, 40u) << "its size";
    xen_pfn_t frames[40] = {};
    set_xen_guest_handle(x.frame_list, frames);
    preempt_every_ = machine_.preempt_after = 1;
    EXPECT_EQ(call(XENMEM_acquire_resource, x), 0);
    EXPECT_EQ(continuations_, 1u);
    EXPECT_EQ(frames[39], 1039u);
    x.frame = 39;
    x.nr_frames = 2;
    EXPECT_EQ(call(XENMEM_acquire_resource, x), -XEN_EINVAL);
    x.frame = uint64_t{1} << 32;
    EXPECT_EQ(call(XENMEM_acquire_resource, x), -XEN_EINVAL);
    x.domid = 0;
    x.frame = 0;
    EXPECT_EQ(call(XENMEM_acquire_resource, x), -XEN_EPERM) << "of oneself";
    current_vcpu = &guest_vcpu_;
    EXPECT_EQ(call(XENMEM_acquire_resource, x), -XEN_EPERM);
}

TEST_F(MemoryOpTest, ClaimAndItsEnd) {
    std::vector<xen_pfn_t> none;
    auto r = reservation(none, 0, 5);
    set_xen_guest_handle(r.extent_start, static_cast<xen_pfn_t*>(nullptr));
    r.nr_extents = 100;
    EXPECT_EQ(call(XENMEM_claim_pages, r), 0);
    EXPECT_EQ(memory::outstanding_claims(), 100u);
    r.extent_order = 1;
    EXPECT_EQ(call(XENMEM_claim_pages, r), -XEN_EINVAL);
    r.extent_order = 0;
    r.nr_extents = 0;
    EXPECT_EQ(call(XENMEM_claim_pages, r), 0);
    EXPECT_EQ(memory::outstanding_claims(), 0u);
}

TEST_F(MemoryOpTest, PhysmapIsNotForPv) {
    xen_add_to_physmap_t x{};
    x.domid = DOMID_SELF;
    EXPECT_EQ(call(XENMEM_add_to_physmap, x), -XEN_EACCES);
    x.space = XENMAPSPACE_gmfn_foreign;
    EXPECT_EQ(call(XENMEM_add_to_physmap, x), -XEN_ENOSYS);
    xen_remove_from_physmap_t y{DOMID_SELF, 0};
    EXPECT_EQ(call(XENMEM_remove_from_physmap, y), -XEN_EACCES);
    xen_pod_target_t z{};
    z.domid = 5;
    EXPECT_EQ(call(XENMEM_get_pod_target, z), -XEN_EINVAL);
}

}  // namespace
}  // namespace hv
