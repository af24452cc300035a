// The heap against a model: objects do not overlap, come zeroed, and all goes back.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "fake/memory_machine.hpp"
#include "hv/memory/heap.hpp"

namespace hv {

bool Domain::get() {
    return ++references, true;
}
void Domain::put() {
    --references;
}

namespace heap {
namespace {

class HeapTest : public testing::Test {
  protected:
    HeapTest() {
        memory::add_free_range({32 * kMiB, 64 * kMiB});
        free_ = memory::free_pages();
    }
    void exhaust() {
        while (auto mfn = memory::alloc_frames(0)) held_.push_back(*mfn);
    }
    void give_back() {
        for (Mfn mfn : held_) memory::free_frames(mfn, 0);
        held_.clear();
    }

    MemoryMachine machine_;
    uint64_t free_;
    std::vector<Mfn> held_;
};

TEST_F(HeapTest, ObjectsAreZeroedAndAligned) {
    for (size_t bytes :
         {1u, 16u, 17u, 100u, 320u, 576u, 960u, 1000u, 1984u, 1985u, 2048u, 4096u, 4097u, 40000u}) {
        for (int round = 0; round < 2; ++round) {  // the second time it is a used one
            auto* object = static_cast<char*>(allocate(bytes));
            ASSERT_NE(object, nullptr);
            EXPECT_EQ(reinterpret_cast<uintptr_t>(object) % 16, 0u);
            if (bytes % 64 == 0) {
                EXPECT_EQ(reinterpret_cast<uintptr_t>(object) % 64, 0u);
            }
            if (bytes >= kPageSize) {
                EXPECT_EQ(reinterpret_cast<uintptr_t>(object) % kPageSize, 0u);
            }
            EXPECT_TRUE(std::all_of(object, object + bytes, [](char c) { return c == 0; }));
            memset(object, 0x5a, bytes);
            release(object);
        }
        EXPECT_EQ(memory::free_pages(), free_);
    }
}

TEST_F(HeapTest, LargeObjectsTakeWholePagesOnly) {
    void* object = allocate(5 * kPageSize);
    EXPECT_EQ(memory::free_pages(), free_ - 5) << "not the eight of the block";
    release(object);
    EXPECT_EQ(memory::free_pages(), free_);
}

TEST_F(HeapTest, NothingLeftIsNullAndNoLeak) {
    exhaust();
    for (size_t bytes : {16u, 2000u, 4096u, 100000u}) EXPECT_EQ(allocate(bytes), nullptr);
    EXPECT_EQ(allocate(~size_t{0}), nullptr);
    EXPECT_FALSE(OwnedArray<int>::create(~size_t{0} / 2));
    give_back();
    EXPECT_EQ(memory::free_pages(), free_);
}

TEST_F(HeapTest, FailureAtEachStep) {
    exhaust();
    for (size_t pages = 0; pages < 4; ++pages) {
        for (size_t i = 0; i < pages; ++i) {
            memory::free_frames(held_.back(), 0);
            held_.pop_back();
        }
        std::vector<void*> objects;
        while (void* object = allocate(1000)) objects.push_back(object);
        EXPECT_EQ(objects.size() > 0, pages > 0);
        for (void* object : objects) release(object);
        EXPECT_EQ(memory::free_pages(), free_ - held_.size());
        while (auto mfn = memory::alloc_frames(0)) held_.push_back(*mfn);
    }
    give_back();
}

TEST_F(HeapTest, OwnersRelease) {
    struct Counted {
        explicit Counted(int& n) : count(n) { ++count; }
        ~Counted() { --count; }
        int& count;
    };
    int count = 0;
    {
        Owned<Counted> a(create<Counted>(count));
        Owned<Counted> b = std::move(a);
        EXPECT_FALSE(a);
        EXPECT_EQ(count, 1);
        b = Owned<Counted>(create<Counted>(count));
        EXPECT_EQ(count, 1);
        auto array = OwnedArray<uint64_t>::create(1000);
        ASSERT_TRUE(array);
        EXPECT_EQ((*array)[999], 0u);
    }
    EXPECT_EQ(count, 0);
    EXPECT_EQ(memory::free_pages(), free_);
    destroy<int>(nullptr);
    release(nullptr);
}

TEST_F(HeapTest, RandomUseAgainstAModel) {
    std::mt19937 random(3);
    struct Object {
        size_t bytes;
        char mark;
    };
    std::map<char*, Object> live;
    for (int step = 0; step < 20000; ++step) {
        if (random() % 5 < 3 || live.empty()) {
            const size_t bytes = random() % 10 ? 1 + random() % 600 : 1 + random() % 20000;
            auto* object = static_cast<char*>(allocate(bytes));
            if (!object) continue;
            auto after = live.lower_bound(object);
            if (after != live.end()) {
                ASSERT_LE(object + bytes, after->first);
            }
            if (after != live.begin()) {
                auto before = std::prev(after);
                ASSERT_LE(before->first + before->second.bytes, object);
            }
            const char mark = static_cast<char>(random());
            memset(object, mark, bytes);
            live[object] = {bytes, mark};
        } else {
            auto victim = std::next(
                live.begin(), static_cast<long>(random() % std::min<size_t>(live.size(), 40)));
            const auto [object, what] = *victim;
            ASSERT_TRUE(std::all_of(object, object + what.bytes,
                                    [m = what.mark](char c) { return c == m; }));
            release(object);
            live.erase(victim);
        }
    }
    for (auto& [object, what] : live) release(object);
    EXPECT_EQ(memory::free_pages(), free_);
}

}  // namespace
}  // namespace heap
}  // namespace hv
