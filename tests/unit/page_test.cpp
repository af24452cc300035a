// References on a frame: who may take them, what happens at the limits and at zero.
#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "fake/memory_machine.hpp"

namespace hv {

bool Domain::get() {
    return ++references, true;
}
void Domain::put() {
    --references;
}

namespace {

constexpr DomId kOwner{7};

class PageTest : public testing::Test {
  protected:
    PageTest() {
        memory::add_free_range({32 * kMiB, 64 * kMiB});
        domain_.id = kOwner;
        domain_.pages.unlocked().max = 100;
        EXPECT_TRUE(domain_table::enter(domain_));
        mfn_ = *memory::alloc_domain_frames(domain_, 0);
        page_ = page_info(mfn_);
    }
    ~PageTest() override { domain_table::leave(domain_); }

    MemoryMachine machine_;
    Domain domain_;
    Mfn mfn_;
    PageInfo* page_;
};

TEST_F(PageTest, OnlyTheOwnerGetsReferences) {
    EXPECT_TRUE(page_->get(kOwner));
    EXPECT_FALSE(page_->get(DomId{6}));
    EXPECT_FALSE(page_->get(DomId{DOMID_IO}));
    EXPECT_EQ(page_->ref_count(), 2u);
    EXPECT_EQ(*page_->owner(), kOwner);
    page_->put();

    page_->refs.fetch_or(PageInfo::kReadOnly);
    EXPECT_FALSE(page_->get(kOwner, PageInfo::kReadOnly));
    EXPECT_TRUE(page_->get(kOwner));
    page_->put();
    EXPECT_EQ(page_->ref_count(), 1u);
    page_->refs.fetch_and(~PageInfo::kReadOnly);
}

TEST_F(PageTest, CountsRefuseToOverflow) {
    const uint64_t word = page_->refs.load();
    page_->refs.store(word | PageInfo::kRefMask);
    EXPECT_FALSE(page_->get(kOwner));
    EXPECT_FALSE(page_->get_again());
    EXPECT_EQ(page_->refs.load(), word | PageInfo::kRefMask);
    page_->refs.store(word);

    ASSERT_TRUE(page_->get_writable_type());
    const uint64_t type = page_->type.load();
    page_->type.store(type | PageInfo::kTypeCountMask);
    EXPECT_FALSE(page_->get_writable_type());
    page_->type.store((type | PageInfo::kTypeCountMask) - 1);
    EXPECT_TRUE(page_->get_writable_type()) << "one below the limit";
    EXPECT_FALSE(page_->get_writable_type());
    page_->type.store(type);
    page_->put_simple_type();
}

TEST_F(PageTest, FreeFrameCannotBeHadByItsOldOwner) {
    EXPECT_TRUE(page_->clear_allocated());
    EXPECT_FALSE(page_->clear_allocated());
    page_->put();
    EXPECT_FALSE(page_->get(kOwner));
    EXPECT_FALSE(page_->owner());
    EXPECT_EQ(domain_.pages.unlocked().total, 0u);
}

TEST_F(PageTest, PageTableIsNotWritableAndTheOtherWayRound) {
    const auto l1 = uint64_t{static_cast<uint8_t>(PageType::kL1)} << PageInfo::kTypeShift;
    page_->type.store(l1 | PageInfo::kValidated | 1);
    EXPECT_FALSE(page_->get_writable_type());
    EXPECT_FALSE(WritablePageRef::take(mfn_, kOwner));
    EXPECT_EQ(page_->ref_count(), 1u) << "the general reference fell back";
    page_->type.store(0);
    {
        auto writable = WritablePageRef::take(mfn_, kOwner);
        ASSERT_TRUE(writable);
        EXPECT_EQ(page_->page_type(), PageType::kWritable);
        EXPECT_EQ(page_->type_count(), 1u);
    }
    EXPECT_EQ(page_->type_count(), 0u);
    EXPECT_EQ(page_->ref_count(), 1u);
}

TEST_F(PageTest, FormerPageTableIsFlushedBeforeItIsWritable) {
    const auto l2 = uint64_t{static_cast<uint8_t>(PageType::kL2)} << PageInfo::kTypeShift;
    page_->type.store(l2 | uint64_t{arch::tlb_flush_stamp()} << PageInfo::kAuxShift);
    machine_.flushes = 0;
    ASSERT_TRUE(page_->get_writable_type());
    EXPECT_EQ(machine_.flushes, 1u);
    // Writable again after writable needs none.
    page_->put_simple_type();
    ASSERT_TRUE(page_->get_writable_type());
    EXPECT_EQ(machine_.flushes, 1u);
    page_->put_simple_type();
}

TEST_F(PageTest, WritableLeavesAStampForThePageTableThatFollows) {
    ASSERT_TRUE(page_->get_writable_type());
    page_->put_simple_type();
    EXPECT_EQ(page_->type.load() >> PageInfo::kAuxShift, arch::tlb_flush_stamp());
}

TEST_F(PageTest, ReferencesMoveAndFallBack) {
    {
        auto first = PageRef::take(mfn_, kOwner);
        ASSERT_TRUE(first);
        PageRef second = std::move(*first);
        EXPECT_EQ(page_->ref_count(), 2u);
        EXPECT_EQ(second.mfn(), mfn_);
        second = PageRef{};
        EXPECT_EQ(page_->ref_count(), 1u);
    }
    EXPECT_EQ(page_->ref_count(), 1u);
    EXPECT_EQ(PageRef::take(Mfn{1}, kOwner).error(), Errno::kEINVAL);
    EXPECT_EQ(PageRef::take(kInvalidMfn, kOwner).error(), Errno::kEINVAL);
}

TEST_F(PageTest, RandomReferencesAgainstAModel) {
    std::mt19937 random(2);
    uint64_t refs = 0;
    uint64_t types = 0;
    bool allocated = true;
    const uint64_t free = memory::free_pages();
    for (int step = 0; step < 20000; ++step) {
        switch (random() % 5) {
            case 0:
                if (page_->get(kOwner)) ++refs;
                break;
            case 1:
                if (refs > types) page_->put(), --refs;
                break;
            case 2:  // a type reference goes with a general one
                if (refs > types && page_->get_writable_type()) ++types;
                break;
            case 3:
                if (types) page_->put_simple_type(), --types;
                break;
            case 4:
                if (random() % 1000 == 0 && allocated && refs) {
                    EXPECT_TRUE(page_->clear_allocated());
                    page_->put();
                    allocated = false;
                }
        }
        if (!refs && !allocated) break;
        ASSERT_EQ(page_->ref_count(), refs + allocated);
        ASSERT_EQ(page_->type_count(), types);
        ASSERT_EQ(memory::free_pages(), free);
    }
    for (; types; --types) page_->put_simple_type();
    for (; refs; --refs) page_->put();
    if (allocated && page_->clear_allocated()) page_->put();
    EXPECT_EQ(memory::free_pages(), free + 1);
}

}  // namespace
}  // namespace hv
