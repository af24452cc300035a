#include "hv/x86/irq/msix_tables.hpp"

#include <array>

#include "arch/memory.hpp"
#include "base/lock.hpp"
#include "hv/lock_rank.hpp"
#include "hv/x86/boot/memory_map.hpp"
#include "hv/x86/irq/msi.hpp"

namespace hv::irq {
namespace {

struct Table {
    uint64_t address = 0;
    size_t bytes = 0;
    volatile uint32_t* mapped = nullptr;
};

// Mappings are for good, so a Domain 0 that moves BARs about must find an end of them.
constexpr size_t kMaxTables = 256;
struct Tables {
    std::array<Table, kMaxTables> list{};
    size_t count = 0;
};
Locked<Tables, Rank::kHostPaging> g_tables;
SpinLock g_mapping{static_cast<uint8_t>(Rank::kIrq)};  // one mapping at a time; map_device locks

volatile uint32_t* find(uint64_t address, size_t bytes) {
    auto tables = g_tables.lock();
    for (size_t i = 0; i < tables->count; ++i)
        if (tables->list[i].address == address && tables->list[i].bytes >= bytes)
            return tables->list[i].mapped;
    return nullptr;
}

}  // namespace

Result<volatile uint32_t*> map_msix_table(uint64_t address, size_t bytes) {
    constexpr uint64_t kAddressLimit = uint64_t{1} << 52;
    if (address < kMiB || address >= kAddressLimit) return Errno::kEINVAL;
    for (uint64_t at = address & kPageMask; at < address + bytes; at += kPageSize)
        if (boot::is_ram(mfn_of(at))) return Errno::kEINVAL;
    LockGuard one_at_a_time(g_mapping);
    if (volatile uint32_t* known = find(address, bytes)) return known;
    if (g_tables.lock()->count == kMaxTables) return Errno::kENOSPC;
    auto* mapped = static_cast<volatile uint32_t*>(arch::map_device(address, bytes));
    if (!mapped) return Errno::kENOSPC;
    auto tables = g_tables.lock();
    tables->list[tables->count++] = {address, bytes, mapped};
    return mapped;
}

bool is_msix_table(Mfn mfn) {
    auto tables = g_tables.lock();
    for (size_t i = 0; i < tables->count; ++i) {
        const Table& t = tables->list[i];
        if (mfn >= mfn_of(t.address) && mfn <= mfn_of(t.address + t.bytes - 1)) return true;
    }
    return false;
}

}  // namespace hv::irq
