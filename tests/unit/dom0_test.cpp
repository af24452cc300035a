// The layout, memory and first page tables of Domain 0, against a simple reading of the ABI.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include <xen/xen.h>

#include "arch/memory.hpp"
#include "boot_fakes.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/x86/pv/dom0_layout.hpp"
#include "hv/x86/pv/dom0_memory.hpp"
#include "hv/x86/pv/dom0_page_tables.hpp"
#include "hv/x86/pv/dom0_size.hpp"
#include "hv/x86/pv/hypercall_page.hpp"

// A machine of 96 MiB whose allocator hands out small blocks from the top and the bottom in turn,
// so that pfns and frames have nothing to do with each other.
namespace {

constexpr uint64_t kMachinePages = 96 * hv::kMiB >> hv::kPageShift;
constexpr unsigned kLargestOrder = 9;
uint64_t next_low = 0, next_high = kMachinePages;
std::map<uint64_t, uint64_t> m2p;

void reset_machine() {
    static void* memory = aligned_alloc(1 << 21, kMachinePages << hv::kPageShift);
    memset(memory, 0xa5, kMachinePages << hv::kPageShift);
    hv::arch::kDirectMap = reinterpret_cast<uintptr_t>(memory);
    next_low = 0;
    next_high = kMachinePages;
    m2p.clear();
}

}  // namespace

namespace hv {
namespace arch {
uintptr_t kDirectMap;
void set_m2p(Mfn mfn, uint64_t pfn) {
    m2p[mfn.raw()] = pfn;
}
void clear_page(Mfn mfn) {
    memset(mfn_to_virt(mfn), 0, kPageSize);
}
CpuMask online_cpus() {
    return CpuMask::first_n(2);
}
}  // namespace arch
namespace memory {
Result<Mfn> alloc_domain_frames(Domain&, unsigned order, AllocOptions) {
    static bool top = false;
    const uint64_t count = uint64_t{1} << order;
    if (order > kLargestOrder || next_high - next_low < count) return Errno::kENOMEM;
    top = !top;
    if (top) return Mfn{next_high -= count};
    next_low += count;
    return Mfn{next_low - count};
}
}  // namespace memory
}  // namespace hv

namespace {

using namespace hv;
using namespace hv::pv;
using paging::Entry;

constexpr uint64_t kBase = 0xffffffff80000000;

Dom0Needs debian(uint64_t pages, uint64_t initrd) {
    return {.pages = pages,
            .virtual_base = kBase,
            .kernel_end = kBase + 0x1a00000,
            .initrd_bytes = initrd,
            .initrd_by_frame = true,
            .p2m_base = 0x8000000000};
}

Dom0Needs plain(uint64_t pages, uint64_t initrd) {
    Dom0Needs needs = debian(pages, initrd);
    needs.initrd_by_frame = false;
    needs.p2m_base.reset();
    return needs;
}

TEST(Dom0Layout, PartsFollowEachOther) {
    for (const Dom0Needs& needs : {plain(20000, 12345), debian(20000, 12345), plain(9000, 0)}) {
        auto l = lay_out_dom0(needs);
        ASSERT_TRUE(l.ok());
        uint64_t at = needs.kernel_end;
        if (!needs.initrd_by_frame && needs.initrd_bytes) {
            EXPECT_EQ(l->initrd, at);
            EXPECT_EQ(l->initrd_pfn, l->pfn_of(l->initrd));
            at += l->initrd_pages << kPageShift;
        }
        if (!needs.p2m_base) {
            EXPECT_EQ(l->p2m, at);
            EXPECT_EQ(l->p2m_pfn, l->pfn_of(l->p2m));
            at += l->p2m_pages << kPageShift;
        }
        EXPECT_EQ(l->start_info, at);
        EXPECT_EQ(l->tables, at + kPageSize);
        EXPECT_EQ(l->stack_end, l->tables + (l->table_pages + 1) * kPageSize);
        EXPECT_GE(l->end, l->stack_end + 512 * kKiB);
        EXPECT_EQ(l->end % (4 * kMiB), 0u);
        EXPECT_LT(l->end - l->stack_end, 4 * kMiB + 512 * kKiB);
        EXPECT_EQ(l->mapped_pages, (l->end - kBase) / kPageSize);
        EXPECT_GE(l->table_pages, 1 + tables_for(kBase, l->end));
        EXPECT_GE(l->p2m_pages * 512, needs.pages);
    }
}

TEST(Dom0Layout, PartsOutsideOfTheMapping) {
    auto l = lay_out_dom0(debian(20000, 12345));
    ASSERT_TRUE(l.ok());
    EXPECT_EQ(l->initrd, 0u);
    EXPECT_EQ(l->initrd_pfn.raw(), l->mapped_pages);
    EXPECT_EQ(l->p2m, 0x8000000000u);
    EXPECT_EQ(l->p2m_pfn.raw(), l->mapped_pages + 4);
    EXPECT_EQ(l->p2m_pages, 40u);
    EXPECT_EQ(l->p2m_table_pages, 3u);
    EXPECT_EQ(l->least_pages, l->mapped_pages + 4 + 40 + 3);
}

TEST(Dom0Layout, WhatDoesNotFitIsRefused) {
    EXPECT_FALSE(lay_out_dom0(plain(uint64_t{1} << 30, 0)).ok());  // p2m of 8 GiB above base
    EXPECT_FALSE(lay_out_dom0(plain(10000, 2 * kGiB)).ok());       // initrd
    EXPECT_FALSE(lay_out_dom0(plain(10000, ~uint64_t{0})).ok());
    EXPECT_TRUE(lay_out_dom0(debian(uint64_t{1} << 30, 2 * kGiB)).ok());
    Dom0Needs needs = debian(10000, 0);
    needs.p2m_base = kBase + 0x1000;  // in the kernel
    EXPECT_FALSE(lay_out_dom0(needs).ok());
    needs.p2m_base = paging::kHypervisorStart - kPageSize;
    EXPECT_FALSE(lay_out_dom0(needs).ok());
    needs = plain(10000, 0);
    needs.kernel_end = ~uint64_t{0xfff};
    EXPECT_FALSE(lay_out_dom0(needs).ok());
}

TEST(Dom0Size, AsTheBootLineSays) {
    boot::Options o;
    const uint64_t gib = kGiB >> kPageShift, mib = kMiB >> kPageShift;
    EXPECT_EQ(dom0_size(o, gib).pages, gib - 64 * mib);  // a sixteenth
    EXPECT_EQ(dom0_size(o, 64 * gib).pages, 64 * gib - 128 * mib);
    EXPECT_EQ(dom0_size(o, gib).max_pages, UINT32_MAX);
    o.dom0_mem = {.given = true, .bytes = 512 * kMiB};
    EXPECT_EQ(dom0_size(o, gib).pages, 512 * mib);
    EXPECT_EQ(dom0_size(o, 256 * mib).pages, 256 * mib);  // as much as there is
    EXPECT_EQ(dom0_size(o, 256 * mib).asked, 512 * mib);  // which the builder refuses
    o.dom0_mem_min = {.given = true, .bytes = 768 * kMiB};
    EXPECT_EQ(dom0_size(o, gib).pages, 768 * mib);
    o.dom0_mem_max = {.given = true, .bytes = 600 * kMiB};  // max overrides min
    EXPECT_EQ(dom0_size(o, gib).pages, 600 * mib);
    EXPECT_EQ(dom0_size(o, gib).max_pages, 600 * mib);
    o = {};
    o.dom0_mem = {.given = true, .negative = true, .bytes = 256 * kMiB};
    EXPECT_EQ(dom0_size(o, gib).pages, 768 * mib);
    o.dom0_mem = {.given = true, .percent = 50};
    EXPECT_NEAR(static_cast<double>(dom0_size(o, gib).pages), gib / 2.0, 100);
}

TEST(Dom0Vcpus, AsTheBootLineSays) {
    boot::Options o;
    EXPECT_EQ(dom0_vcpus(o, 4), 4u);
    o.dom0_max_vcpus_min = 4, o.dom0_max_vcpus_max = 8;
    EXPECT_EQ(dom0_vcpus(o, 2), 4u);
    EXPECT_EQ(dom0_vcpus(o, 6), 6u);
    EXPECT_EQ(dom0_vcpus(o, 10), 8u);
    o.dom0_max_vcpus_max = 100000;
    EXPECT_EQ(dom0_vcpus(o, 100000), kMaxVcpusPerDomain);
}

class Dom0Tables : public testing::Test {
  protected:
    void SetUp() override { reset_machine(); }

    /// The leaf entry for `linear`, by a walk as the processor does it.
    Entry walk(Mfn l4, uint64_t linear) {
        Mfn table = l4;
        for (unsigned level = 4; level > 1; --level) {
            const Entry e = arch::mfn_to_virt<Entry>(table)[paging::index_of(linear, level)];
            if (!e.present()) return {};
            EXPECT_TRUE(e.writable() && (e.raw() & Entry::kUser));
            table = e.mfn();
        }
        return arch::mfn_to_virt<Entry>(table)[paging::index_of(linear, 1)];
    }

    /// What the tables of `needs` map is exactly what they should.
    void check(const Dom0Needs& needs) {
        auto domain = std::make_unique<Domain>();
        auto layout = lay_out_dom0(needs);
        ASSERT_TRUE(layout.ok());
        auto frames = Dom0Frames::create(*domain);
        ASSERT_TRUE(frames.ok());
        ASSERT_TRUE(frames->grow_to(needs.pages).ok());
        EXPECT_EQ(frames->pages(), needs.pages);
        Dom0PageTables tables(*frames, *layout);
        tables.build();
        frames->write_list(layout->p2m_pfn, layout->p2m_pages);

        const Pfn first_table = layout->pfn_of(layout->tables);
        for (uint64_t i = 0; i < layout->mapped_pages; ++i) {
            const Entry e = walk(tables.l4(), layout->base + (i << kPageShift));
            ASSERT_TRUE(e.present());
            ASSERT_EQ(e.mfn(), frames->mfn(Pfn{i}));
            ASSERT_TRUE(e.raw() & Entry::kGuestKernel);
            const bool is_table = i - first_table.raw() < layout->table_pages;
            ASSERT_EQ(e.writable(), !is_table) << i;
            ASSERT_EQ(m2p[e.mfn().raw()], i);
        }
        EXPECT_FALSE(walk(tables.l4(), layout->end).present());
        EXPECT_FALSE(walk(tables.l4(), layout->base - kPageSize).present());
        for (uint64_t i = 0; i < layout->p2m_pages; ++i) {
            const Entry e = walk(tables.l4(), layout->p2m + (i << kPageShift));
            ASSERT_EQ(e.mfn(), frames->mfn(layout->p2m_pfn + i));
            ASSERT_TRUE(e.writable());
            const auto* list = arch::mfn_to_virt<uint64_t>(e.mfn());
            for (uint64_t k = 0; k < 512; ++k) {
                const uint64_t pfn = i * 512 + k;
                ASSERT_EQ(list[k], pfn < needs.pages ? frames->mfn(Pfn{pfn}).raw() : ~uint64_t{0});
            }
        }
    }
};

TEST_F(Dom0Tables, MapWhatTheLayoutSays) {
    check(debian(16000, 5'000'000));
    reset_machine();
    check(plain(16000, 5'000'000));
    reset_machine();
    check(plain(9000, 0));
}

TEST_F(Dom0Tables, P2mUnderTheSameUpperTables) {
    Dom0Needs needs = plain(12000, 0);
    needs.virtual_base = 0x400000000;
    needs.kernel_end = needs.virtual_base + 0x800000;
    needs.p2m_base = 0x420000000;  // another L2, the same L3
    check(needs);
}

TEST_F(Dom0Tables, MemoryIsWrittenAcrossRuns) {
    auto domain = std::make_unique<Domain>();
    auto frames = Dom0Frames::create(*domain);
    ASSERT_TRUE(frames.ok());
    ASSERT_TRUE(frames->grow_to(3000).ok());
    ASSERT_GT(frames->runs().size(), 3u);
    std::vector<uint8_t> data(2900 * kPageSize);
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(i * 7 >> 3);
    frames->copy_in(1234, data);
    frames->zero(1234 + 5000, 4 * kMiB);
    std::fill_n(data.begin() + 5000, 4 * kMiB, 0);
    for (size_t i = 0; i < data.size(); i += 61) {
        const uint64_t at = 1234 + i;
        const auto* page = arch::mfn_to_virt<uint8_t>(frames->mfn(Pfn{at >> kPageShift}));
        ASSERT_EQ(page[at % kPageSize], data[i]) << i;
    }
    EXPECT_EQ(frames->grow_to(2 * kMachinePages).error(), Errno::kENOMEM);
    EXPECT_EQ(frames->pages(), kMachinePages);
}

TEST(HypercallPage, EntriesCarryTheirNumber) {
    std::vector<uint8_t> page(kPageSize);
    fill_hypercall_page(page.data());
    for (uint32_t n = 0; n < 128; ++n) {
        const uint8_t* entry = &page[n * 32];
        uint32_t number;
        memcpy(&number, entry + (n == __HYPERVISOR_iret ? 5 : 4), 4);
        EXPECT_EQ(number, n);
    }
}

}  // namespace
