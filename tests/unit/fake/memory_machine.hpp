// A machine that is only memory, for tests of the memory room: RAM as a lazily committed mapping,
// a window of page structs that faults until it is backed, an M2P, and CPUs that may hold stale
// TLB entries.
//
// It defines functions of other rooms, so include it in one source file of a test only.
#pragma once

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <vector>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "arch/time.hpp"
#include "arch/topology.hpp"
#include "base/lock.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/table.hpp"
#include "hv/hypercall/outcome.hpp"
#include "hv/memory/free_memory.hpp"

namespace hv {

struct MemoryMachine {
    static constexpr uint64_t kRamBytes = uint64_t{8} << 30;  ///< of addresses; touched as used
    static constexpr uint64_t kFrames = kRamBytes / kPageSize;

    char* ram = map(kRamBytes, PROT_READ | PROT_WRITE);
    /// Not accessible until arch::back_frame_table() says so.
    char* structs = map(memory::kMaxFrames * sizeof(PageInfo), PROT_NONE);
    std::vector<uint64_t> m2p = std::vector<uint64_t>(kFrames, arch::kInvalidM2p);
    std::set<uint64_t> table_frames;           ///< frames that page structs took
    static inline Nanoseconds time = kSecond;  ///< system time; never goes back
    Nanoseconds tick = kSecond;                ///< how much passes between two looks at it
    uint32_t clock = 1;                        ///< of whole-TLB flushes
    uint32_t last_flush = 0;                   ///< when the one CPU flushed
    unsigned flushes = 0;
    unsigned cleared = 0;
    unsigned refuse_backing = 0;  ///< that many calls fail
    unsigned preempt_after = 0;   ///< that many polls from now; 0: never
    bool (*preempt)() = nullptr;  ///< asked instead, if there is one

    MemoryMachine();
    ~MemoryMachine();

    static char* map(uint64_t bytes, int protection) {
        void* at =
            mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) abort();
        return static_cast<char*>(at);
    }
};

inline MemoryMachine* machine;

namespace arch {

uintptr_t kDirectMap;
uintptr_t kFrameTable;

Nanoseconds now() {
    return machine->time += machine->tick;
}
CpuId this_cpu() {
    return 0;
}
CpuMask online_cpus() {
    return CpuMask::first_n(1);
}
uint8_t node_of_cpu(CpuId) {
    return 0;
}
uint32_t tlb_flush_stamp() {
    return machine->clock;
}
CpuMask cpus_not_flushed_since(const CpuMask& cpus, uint32_t stamp) {
    return machine->last_flush > stamp ? CpuMask{} : cpus;
}
void flush_tlb(const CpuMask&) {
    ++machine->flushes;
    machine->last_flush = ++machine->clock;
}
void clear_page(Mfn mfn) {
    ++machine->cleared;
    memset(mfn_to_virt<char>(mfn), 0, kPageSize);
}
void set_m2p(Mfn mfn, uint64_t pfn) {
    machine->m2p.at(mfn.raw()) = pfn;
}
uint64_t get_m2p(Mfn mfn) {
    return machine->m2p.at(mfn.raw());
}

namespace {
Result<> take_tables(uint64_t bytes) {
    if (machine->refuse_backing && machine->refuse_backing--) return Errno::kENOMEM;
    for (uint64_t i = 0; i < bytes / kPageSize; ++i) {
        const Mfn mfn = TRY(memory::take_table_frame());
        if (!machine->table_frames.insert(mfn.raw()).second) abort();  // handed out twice
    }
    return {};
}
}  // namespace

Result<> back_frame_table(Mfn first, uint64_t count) {
    TRY(take_tables(count * sizeof(PageInfo)));
    mprotect(machine->structs + first.raw() * sizeof(PageInfo), count * sizeof(PageInfo),
             PROT_READ | PROT_WRITE);
    return {};
}
Mfn m2p_block(uint64_t gib) {  // as if GiB 1 had no RAM
    return gib < 4 && gib != 1 ? Mfn{512 * (gib + 1)} : kInvalidMfn;
}

}  // namespace arch

bool log_enabled(LogLevel, bool) {
    return false;
}
void log_args(LogLevel, bool, std::string_view, const base::FormatArg*, size_t) {}
void panic_args(std::string_view format, const base::FormatArg* args, size_t count) {
    base::format_args(
        [](void*, std::string_view text) { fwrite(text.data(), 1, text.size(), stderr); }, nullptr,
        format, args, count);
    fputc('\n', stderr);
    abort();
}
bool preempt_requested() {
    if (machine->preempt) return machine->preempt();
    return machine->preempt_after && --machine->preempt_after == 0;
}

inline MemoryMachine::MemoryMachine() {
    machine = this;
    arch::kDirectMap = reinterpret_cast<uintptr_t>(ram);
    arch::kFrameTable = reinterpret_cast<uintptr_t>(structs);
    for (auto& word : memory::backed_sections) word = 0;
    std::destroy_at(&memory::free_memory);
    std::construct_at(&memory::free_memory);
}
inline MemoryMachine::~MemoryMachine() {
    munmap(ram, kRamBytes);
    munmap(structs, memory::kMaxFrames * sizeof(PageInfo));
    machine = nullptr;
}

}  // namespace hv

namespace base {
void spin_wait() {
    abort();
}  // one thread: nobody would ever come
void note_lock_taken(uint8_t) {}
void note_lock_dropped(uint8_t) {}
}  // namespace base
