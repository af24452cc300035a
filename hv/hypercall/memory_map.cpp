// Memory maps in the BIOS's e820 layout: the machine's, and the ones that the tools give domains.
#include <cstdint>

#include <xen/xen.h>

#include <xen/memory.h>

#include <algorithm>

#include "arch/cpu.hpp"
#include "boot/memory_map.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/memory_op.hpp"
#include "hv/policy/policy.hpp"

namespace hv::memory_op {

namespace {

constexpr size_t kMaxEntries = 128;  // what the format of the boot protocol holds (E820MAX)

}  // namespace

Outcome memory_map(uint64_t address, uint64_t) {
    const GuestInOut<xen_memory_map_t> argument(address);
    auto map = argument.load();
    if (!map) return map.error();
    MemoryMapEntry entries[kMaxEntries];
    size_t count;
    {
        auto own = arch::current().domain->memory_map.lock();
        if (own->size() == 0) return Errno::kENOSYS;
        count = std::min<size_t>(own->size(), map->nr_entries);
        std::copy_n(own->data(), count, entries);
    }
    map->nr_entries = static_cast<unsigned>(count);
    if (auto told = GuestOut<MemoryMapEntry>(map->buffer).store_many({entries, count}); !told)
        return told;
    return argument.store(*map);
}

Outcome set_memory_map(uint64_t address, uint64_t) {
    auto argument = GuestIn<xen_foreign_memory_map_t>(address).load();
    if (!argument) return argument.error();
    const size_t count = argument->map.nr_entries;
    if (count > kMaxEntries) return Errno::kEINVAL;
    auto domain = Domain::find_or_self(DomId{argument->domid});
    if (!domain) return domain.error();
    if (auto may = policy::check(policy::Op::kManageMemory, *arch::current().domain, domain->get());
        !may)
        return may;
    auto entries = heap::OwnedArray<MemoryMapEntry>::create(count);
    if (!entries) return entries.error();
    const GuestIn<MemoryMapEntry> from(argument->map.buffer);
    if (auto got = from.load_many({entries->data(), count}); !got) return got;
    heap::OwnedArray<MemoryMapEntry> replaced = std::move(*entries);
    {
        auto own = (*domain)->memory_map.lock();
        std::swap(*own, replaced);  // what was there is freed without the lock
    }
    return Outcome{};
}

Outcome machine_memory_map(uint64_t address, uint64_t) {
    if (auto may = policy::check(policy::Op::kControlHost, *arch::current().domain); !may)
        return may;
    const GuestInOut<xen_memory_map_t> argument(address);
    auto map = argument.load();
    if (!map) return map.error();
    const auto regions = boot::memory_map();
    if (map->nr_entries < regions.size()) return Errno::kEINVAL;
    const GuestOut<MemoryMapEntry> into(map->buffer);
    for (size_t i = 0; i < regions.size(); ++i) {
        const MemoryMapEntry entry{regions[i].start, regions[i].bytes, regions[i].type};
        if (auto told = into.store(entry, i); !told) return told;
    }
    map->nr_entries = static_cast<unsigned>(regions.size());
    return argument.store(*map);
}

}  // namespace hv::memory_op
