// A size class has slabs: frames with a header, the rest carved into equal objects. What is larger
// than the largest class is whole frames. An address tells which: only the latter begin a frame.
//
// An empty slab goes back at once, so that what a domain cost comes back when it is destroyed.
#include "hv/memory/heap.hpp"

#include <cstring>

#include "arch/memory.hpp"
#include "base/list.hpp"
#include "base/lock.hpp"
#include "hv/console/log.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/allocator.hpp"

namespace hv::heap {

namespace {

constexpr size_t kAlignment = 16;
constexpr size_t kCacheLine = 64;
constexpr uint16_t kClassBytes[] = {16,  32,  48,  64,  96,  128,  192, 256,
                                    384, 512, 640, 768, 960, 1344, 1984};
constexpr size_t kClasses = std::size(kClassBytes);

struct FreeObject {
    FreeObject* next;
};

struct Slab : ListNode<Slab> {
    static constexpr uint32_t kMagic = 0x51ab51ab;
    uint32_t magic = kMagic;
    uint16_t size_class = 0;
    uint16_t used = 0;
    FreeObject* free = nullptr;
};
constexpr size_t kHeaderBytes = round_up(sizeof(Slab), kCacheLine);
static_assert(kHeaderBytes + 2 * kClassBytes[kClasses - 1] <= kPageSize);
/// The smallest class that holds `bytes`, or kClasses.
constexpr size_t class_of(size_t bytes) {
    size_t c = 0;
    while (c < kClasses && kClassBytes[c] < bytes) ++c;
    return c;
}

static_assert([] {
    for (size_t bytes : kClassBytes)
        if (bytes % kAlignment) return false;
    // What is whole cache lines gets a class that is, too.
    for (size_t bytes = kCacheLine; class_of(bytes) < kClasses; bytes += kCacheLine)
        if (kClassBytes[class_of(bytes)] % kCacheLine) return false;
    return true;
}());

constexpr unsigned objects_in(size_t size_class) {
    return static_cast<unsigned>((kPageSize - kHeaderBytes) / kClassBytes[size_class]);
}

struct Classes {
    List<Slab> with_room[kClasses];
};
constinit Locked<Classes, Rank::kHeap> classes;

Slab* slab_of(void* object) {
    return reinterpret_cast<Slab*>(reinterpret_cast<uintptr_t>(object) & kPageMask);
}

void* pop(Classes& all, Slab& slab) {
    FreeObject* object = slab.free;
    slab.free = object->next;
    ++slab.used;
    if (!slab.free) all.with_room[slab.size_class].remove(slab);
    return object;
}

/// A new slab, not in any list yet; nullptr when out of memory. Takes the allocator's lock, which
/// comes before the heap's: called with none held.
Slab* make_slab(size_t size_class) {
    auto frame = memory::alloc_frames(0, {.zeroed = false});
    if (!frame) return nullptr;
    auto* base = arch::mfn_to_virt<uint8_t>(*frame);
    auto* slab = ::new (static_cast<void*>(base)) Slab;
    slab->size_class = static_cast<uint16_t>(size_class);
    for (unsigned i = objects_in(size_class); i-- > 0;) {
        auto* object = reinterpret_cast<FreeObject*>(base + kHeaderBytes +
                                                     i * size_t{kClassBytes[size_class]});
        object->next = slab->free;
        slab->free = object;
    }
    return slab;
}

void* allocate_small(size_t size_class) {
    {
        auto all = classes.lock();
        if (Slab* slab = all->with_room[size_class].front()) return pop(*all, *slab);
    }
    Slab* fresh = make_slab(size_class);
    if (!fresh) return nullptr;
    auto all = classes.lock();
    all->with_room[size_class].push_front(*fresh);
    return pop(*all, *fresh);
}

void release_small(void* object) {
    Slab* slab = slab_of(object);
    invariant(slab->magic == Slab::kMagic && slab->used > 0, "released what the heap never gave");
    {
        auto all = classes.lock();
        if (!slab->free) all->with_room[slab->size_class].push_back(*slab);
        auto* freed = static_cast<FreeObject*>(object);
        freed->next = slab->free;
        slab->free = freed;
        if (--slab->used) return;
        all->with_room[slab->size_class].remove(*slab);
    }
    memory::free_frames(arch::virt_to_mfn(slab), 0);
}

/// Frees `count` frames from `first` on, as the largest aligned blocks.
void free_run(Mfn first, uint64_t count) {
    while (count) {
        unsigned order = 0;
        while (order < memory::kMaxOrder && !((first.raw() >> order) & 1) &&
               (uint64_t{2} << order) <= count)
            ++order;
        memory::free_frames(first, order);
        first += uint64_t{1} << order;
        count -= uint64_t{1} << order;
    }
}

void* allocate_frames(size_t bytes) {
    if (bytes > (kPageSize << memory::kMaxOrder)) return nullptr;
    const uint64_t count = pages_of(bytes);
    unsigned order = 0;
    while ((uint64_t{1} << order) < count) ++order;
    auto first = memory::alloc_frames(order);
    if (!first) return nullptr;
    // The frame's aux word remembers how many there are; the rest of the block is not needed.
    page_of(*first).type.store(count << PageInfo::kAuxShift);
    free_run(*first + count, (uint64_t{1} << order) - count);
    return arch::mfn_to_virt<void>(*first);
}

}  // namespace

void* allocate(size_t bytes) {
    const size_t size_class = class_of(bytes);
    if (size_class == kClasses) return allocate_frames(bytes);
    void* object = allocate_small(size_class);
    if (object) std::memset(object, 0, kClassBytes[size_class]);
    return object;
}

void release(void* object) {
    if (!object) return;
    if (reinterpret_cast<uintptr_t>(object) % kPageSize) return release_small(object);
    const Mfn first = arch::virt_to_mfn(object);
    const uint64_t count = page_of(first).type.load() >> PageInfo::kAuxShift;
    invariant(count != 0, "released frames that the heap never gave");
    free_run(first, count);
}

}  // namespace hv::heap
