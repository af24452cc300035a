#include "hv/x86/paging/host.hpp"

#include <algorithm>
#include <atomic>

#include "base/lock.hpp"
#include "hv/console/log.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/x86/cpu/msr.hpp"

extern "C" {
#ifdef XENOLITH_HOST
hv::paging::Entry boot_l4[hv::paging::kEntries];  // the image's is in boot/head.S
#endif
extern hv::paging::Entry boot_l4[];
extern char image_start[], text_end[], rodata_end[], image_end[];
}

namespace hv::paging {
namespace {

// The loader-time tables become the hypervisor's own, once everything they showed is mapped anew.
Entry* const l4 = boot_l4;
TableSource table_source;
bool global_allowed = true;
SpinLock host_lock{static_cast<uint8_t>(Rank::kHostPaging)};

Entry* table_at(Entry e) {
    return arch::mfn_to_virt<Entry>(e.mfn());
}

/// The table that `slot` names, made if there is none.
Result<Entry*> next_table(TableSource source, Entry& slot, uint64_t flags) {
    if (!slot.present()) {
        Mfn mfn = TRY(source());
        arch::clear_page(mfn);
        slot = Entry(mfn, Entry::kPresent | Entry::kWrite | Entry::kAccessed);
    }
    // The leaf decides; what is open to guests must be so on every level.
    slot = slot.with(flags & Entry::kUser);
    return table_at(slot);
}

constexpr uint64_t kLargeBytes = 2 * kMiB;

Result<uint64_t> map_one(Entry* top, TableSource source, uint64_t linear, uint64_t machine,
                         uint64_t left, uint64_t flags) {
    flags = leaf_flags(flags);
    Entry* l3 = TRY(next_table(source, top[index_of(linear, 4)], flags));
    Entry* l2 = TRY(next_table(source, l3[index_of(linear, 3)], flags));
    Entry& slot = l2[index_of(linear, 2)];
    const bool large = (flags & Entry::kLarge) && !((linear | machine) & (kLargeBytes - 1)) &&
                       left >= kLargeBytes && !slot.present();
    if (large) {
        slot = Entry(mfn_of(machine), flags);
        return kLargeBytes;
    }
    Entry* l1 = TRY(next_table(source, slot, flags));
    l1[index_of(linear, 1)] = Entry(mfn_of(machine), flags & ~Entry::kLarge);
    return uint64_t{kPageSize};
}

void map_or_panic(uint64_t linear, uint64_t machine, uint64_t bytes, uint64_t flags) {
    if (!map_host(linear, machine, bytes, flags).ok())
        panic("no memory for the hypervisor's page tables; give the machine more memory");
}

void map_image() {
    const auto start = reinterpret_cast<uint64_t>(image_start);
    const auto text = reinterpret_cast<uint64_t>(text_end);
    const auto rodata = reinterpret_cast<uint64_t>(rodata_end);
    const auto end = reinterpret_cast<uint64_t>(image_end);
    l4[kSlotImage] = Entry();
    map_or_panic(start, start - kImage, text - start, kText);
    map_or_panic(text, text - kImage, rodata - text, kReadOnlyData);
    map_or_panic(rodata, rodata - kImage, end - rodata, kData);
}

/// RAM from `start` to `end`. Text and constants of the image are read-only here too: what may not
/// be written at their own address may not be written behind it.
void map_ram(uint64_t start, uint64_t end) {
    constexpr uint64_t kFlags = kData | Entry::kLarge;
    const uint64_t image = std::clamp(reinterpret_cast<uint64_t>(image_start) - kImage, start, end);
    const uint64_t data = std::clamp(reinterpret_cast<uint64_t>(rodata_end) - kImage, start, end);
    map_or_panic(kDirectMapStart + start, start, image - start, kFlags);
    map_or_panic(kDirectMapStart + image, image, data - image, kReadOnlyData);
    map_or_panic(kDirectMapStart + data, data, end - data, kFlags);
}

/// RAM, and the tables that the firmware left in memory. Devices are not in the direct map: they
/// would be seen with two kinds of caching.
void map_direct() {
    for (size_t slot = index_of(kDirectMapStart, 4); slot <= kLastHypervisorSlot; ++slot)
        l4[slot] = Entry();
    map_or_panic(kDirectMapStart, 0, kMiB,
                 kData);  // firmware's data and tables for the CPUs' start
    for (const auto& region : boot::memory_map()) {
        if (region.type != boot::kRam && region.type != 3 && region.type != 4) continue;
        uint64_t start = region.start & kPageMask;
        const uint64_t end = round_up(region.start + region.bytes, kPageSize);
        if (start < kMiB) start = kMiB;
        if (end > start) map_ram(start, end);
    }
}

}  // namespace

void allow_global(bool allowed) {
    global_allowed = allowed;
}
uint64_t leaf_flags(uint64_t flags) {
    return global_allowed ? flags : flags & ~Entry::kGlobal;
}
void set_table_source(TableSource source) {
    table_source = source;
}
Entry* host_l4() {
    return l4;
}
Mfn host_l4_mfn() {
    return mfn_of(reinterpret_cast<uint64_t>(boot_l4) - kImage);
}

Result<> map_in(Entry* top, TableSource source, uint64_t linear, uint64_t machine_address,
                uint64_t bytes, uint64_t flags) {
    while (bytes) {
        const uint64_t step = TRY(map_one(top, source, linear, machine_address, bytes, flags));
        linear += step;
        machine_address += step;
        bytes -= step;
    }
    return {};
}

Result<> map_host(uint64_t linear, uint64_t machine_address, uint64_t bytes, uint64_t flags) {
    LockGuard guard(host_lock);
    return map_in(l4, table_source, linear, machine_address, bytes, flags);
}

void init_host(TableSource source) {
    table_source = source;
    // Building walks table frames through the direct map, which must not vanish meanwhile: the new
    // trees grow in a scratch L4 and are put in place together.
    static Entry scratch[kEntries] __attribute__((aligned(4096)));
    for (size_t i = 0; i < kEntries; ++i) scratch[i] = l4[i];
    cpu::write_cr3(reinterpret_cast<uint64_t>(scratch) - kImage);
    map_image();
    map_direct();
    for (size_t slot = kFirstHypervisorSlot; slot <= kLastHypervisorSlot; ++slot) {
        if (slot == kSlotPerDomain) continue;
        if (!next_table(source, l4[slot], slot == kSlotM2p ? Entry::kUser : 0).ok())
            panic("no memory for the hypervisor's page tables");
    }
    l4[0] = Entry();
    cpu::write_cr3(address_of(host_l4_mfn()));
}

Entry* host_leaf(uint64_t linear) {
    Entry* table = l4;
    for (unsigned level = 4; level > 1; --level) {
        const Entry e = table[index_of(linear, level)];
        if (!e.present() || (level < 4 && e.large())) return nullptr;
        table = table_at(e);
    }
    return &table[index_of(linear, 1)];
}

void fill_hypervisor_slots(Entry* into, Mfn perdomain_l3) {
    for (size_t slot = kFirstHypervisorSlot; slot <= kLastHypervisorSlot; ++slot)
        into[slot] = l4[slot];
    into[kSlotM2p] = Entry();  // show_m2p()
    into[kSlotPerDomain] =
        perdomain_l3 == kInvalidMfn
            ? Entry()
            : Entry(perdomain_l3, Entry::kPresent | Entry::kWrite | Entry::kAccessed);
}

}  // namespace hv::paging

namespace hv::arch {

using namespace paging;

void* map_device(uint64_t machine_address, size_t bytes, Caching caching) {
    static std::atomic<uint64_t> next{kDeviceMap};
    const uint64_t offset = machine_address & ~kPageMask;
    const uint64_t length = round_up(offset + bytes, kPageSize);
    const uint64_t linear = next.fetch_add(length + kPageSize);  // a hole between two mappings
    uint64_t flags = kData;
    if (caching == Caching::kUncached) flags |= Entry::kCacheDisable | Entry::kWriteThrough;
    if (caching == Caching::kWriteCombined) flags |= Entry::kPat;
    if (!map_host(linear, machine_address & kPageMask, length, flags).ok()) return nullptr;
    return reinterpret_cast<void*>(linear + offset);
}

Result<> back_frame_table(Mfn first, uint64_t count) {
    const uint64_t linear = kFrameTable + first.raw() * sizeof(PageInfo);
    for (uint64_t offset = 0; offset < count * sizeof(PageInfo); offset += kPageSize) {
        const Mfn mfn = TRY(memory::take_table_frame());
        clear_page(mfn);
        // Not map_host(): its lock comes before the allocator's, which our caller holds. Nobody
        // else maps in the frame table's GiBs, so that the allocator's lock is enough.
        TRY(map_in(host_l4(), memory::take_table_frame, linear + offset, address_of(mfn), kPageSize,
                   kData));
    }
    return {};
}

void clear_page(Mfn mfn) {
    void* to = mfn_to_virt(mfn);
    uint64_t words = kPageSize / 8;
    asm volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(0) : "memory");
}

void copy_page(Mfn to, Mfn from) {
    void* d = mfn_to_virt(to);
    const void* s = mfn_to_virt(from);
    uint64_t words = kPageSize / 8;
    asm volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words)::"memory");
}

}  // namespace hv::arch
