#include "memory.hpp"

#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"

namespace guest {
namespace {

constexpr unsigned kPoolPages = 3072;
[[gnu::section(".page_pool,\"aw\",@nobits#")]] alignas(
    kPageSize) unsigned char pool[kPoolPages * kPageSize];
unsigned pool_used;
// Slot 1 may hold the p2m (INIT_P2M), slot 0 is the test image's user half.
unsigned next_window_slot = 8;

unsigned index_of(Arg va, int level) {
    return va >> (12 + 9 * (level - 1)) & 511;
}

}  // namespace

uint64_t pfn_of(const volatile void* va) {
    return (addr(va) - addr(virt_base)) >> 12;
}
void* va_of_pfn(uint64_t pfn) {
    return reinterpret_cast<void*>(addr(virt_base) + (pfn << 12));
}
uint64_t* p2m() {
    return reinterpret_cast<uint64_t*>(start_info->mfn_list);
}
uint64_t mfn_of(const volatile void* va) {
    return p2m()[pfn_of(va)];
}
uint64_t* boot_l4() {
    return reinterpret_cast<uint64_t*>(start_info->pt_base);
}

uint64_t* entry_of(Arg va, int level) {
    uint64_t* table = boot_l4();
    for (int at = 4;; --at) {
        uint64_t* entry = &table[index_of(va, at)];
        if (at == level) return entry;
        if (!(*entry & kPresent)) return nullptr;
        table = static_cast<uint64_t*>(va_of_pfn(m2p(mfn_of_pte(*entry))));
    }
}

uint64_t machine_address(const volatile void* p) {
    return mfn_of(p) << 12 | (addr(p) & (kPageSize - 1));
}

long write_entry(const volatile void* entry, uint64_t value, unsigned cmd) {
    const mmu_update_t update = {machine_address(entry) | cmd, value};
    return mmu_update(&update, 1);
}

void remap(const void* va, uint64_t new_pte) {
    CHECK_EQ(update_va_mapping(addr(va), new_pte, UVMF_INVLPG), 0);
}

void make_read_only(const void* page) {
    remap(page, pte(mfn_of(page), kReadOnlyFlags));
}
void make_writable(const void* page) {
    remap(page, pte(mfn_of(page), kDataFlags));
}

void* alloc_pages(unsigned count) {
    if (pool_used + count > kPoolPages) fail("the image's page pool is used up");
    void* pages = pool + pool_used * kPageSize;
    pool_used += count;
    return pages;
}

void* alloc_page() {
    return alloc_pages(1);
}

long mmuext(unsigned cmd, uint64_t mfn_or_address) {
    mmuext_op_t op = {};
    op.cmd = cmd;
    op.arg1.mfn = mfn_or_address;
    return mmuext_op(&op, 1);
}

long pin(const void* page, int level) {
    make_read_only(page);
    return mmuext(MMUEXT_PIN_L1_TABLE + level - 1, mfn_of(page));
}

long unpin(const void* page) {
    return mmuext(MMUEXT_UNPIN_TABLE, mfn_of(page));
}

Window open_window() {
    const unsigned slot = next_window_slot++;
    Window window = {alloc_page_as<uint64_t>(), alloc_page_as<uint64_t>(),
                     alloc_page_as<uint64_t>(), static_cast<Arg>(slot) << 39};
    window.l3[0] = pte(mfn_of(window.l2), kTableFlags);
    window.l2[0] = pte(mfn_of(window.l1), kTableFlags);
    make_read_only(window.l1);
    make_read_only(window.l2);
    make_read_only(window.l3);
    CHECK_EQ(write_entry(&boot_l4()[slot], pte(mfn_of(window.l3), kTableFlags)), 0);
    return window;
}

}  // namespace guest
