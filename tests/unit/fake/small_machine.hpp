// A machine small enough to hold in the hand, for tests of event channels and grants: frames,
// domains and vCPUs that exist, and a record of what the rooms under test asked of the others.
//
// It defines the functions of those other rooms, so include it in one source file of a test only.
// Guest memory is the test's own: guest linear addresses are host addresses, except the first page
// and FakeMachine::bad_address, which fault.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "arch/cache.hpp"
#include "arch/cpu.hpp"
#include "arch/guest_memory.hpp"
#include "arch/irq.hpp"
#include "arch/memory.hpp"
#include "base/lock.hpp"
#include "fake/no_trace.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/table.hpp"
#include "hv/event/event.hpp"
#include "hv/grant/grant.hpp"
#include "hv/hypercall/outcome.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/memory/heap.hpp"
#include "hv/memory/page.hpp"
#include "hv/sched/rcu.hpp"
#include "hv/sched/sched.hpp"
#include "hv/sched/softirq.hpp"

namespace hv {

struct FakeMachine {
    static constexpr size_t kFrames = 4096;

    // memory
    char* arena = nullptr;
    std::vector<PageInfo> pages = std::vector<PageInfo>(kFrames);
    std::vector<uint64_t> free_list;
    size_t frames_in_use = 0;
    std::set<void*> heap_objects;
    uint64_t bad_address = 0;
    /// The n-th allocation from now (frames and heap counted together) fails; 0: none does.
    unsigned fail_allocation = 0;

    // domains, CPUs
    std::map<uint16_t, Domain*> domains;
    Vcpu* current = nullptr;
    unsigned preempt_after = 0;  ///< that many polls from now; 0: never

    // what was asked for
    std::vector<const Vcpu*> woken;
    std::vector<CpuId> kicked;
    unsigned flushes = 0;
    struct Pte {
        Mfn frame;
        bool read_only;
        bool operator==(const Pte&) const = default;
    };
    std::map<uint64_t, Pte> ptes;  ///< grant mappings by host address
    std::vector<std::pair<uint64_t, Pte>> ptes_since_flush;
    bool refuse_map = false;
    std::vector<std::pair<uint64_t, size_t>> flushed_lines;  ///< machine address, bytes
    std::map<uint64_t, uint64_t> m2p;
    std::map<uint32_t, uint32_t> bound_pirqs;  ///< pirq -> vCPU
    std::set<uint32_t> refused_pirqs;
    std::vector<std::string> log;

    bool next_allocation_fails() { return fail_allocation && --fail_allocation == 0; }
};

inline FakeMachine* machine;

namespace arch {
uintptr_t kDirectMap;
uintptr_t kFrameTable;

CpuId this_cpu() {
    return 0;
}
Vcpu& current() {
    return *machine->current;
}
bool is_idle(const Vcpu&) {
    return false;
}
CpuMask online_cpus() {
    return CpuMask::first_n(2);
}
void kick_cpu(CpuId cpu) {
    machine->kicked.push_back(cpu);
}
void poll_interrupts() {
    if (machine->preempt_after && --machine->preempt_after == 0) raise_softirq(Softirq::kSchedule);
}
void flush_tlb(const CpuMask&) {
    ++machine->flushes;
    machine->ptes_since_flush.clear();
}
void flush_cache() {}
void flush_cache_lines(const void* from, size_t bytes) {
    machine->flushed_lines.emplace_back(reinterpret_cast<uintptr_t>(from) - kDirectMap, bytes);
}
uint32_t tlb_flush_stamp() {
    return 1;
}
CpuMask cpus_not_flushed_since(const CpuMask&, uint32_t) {
    return {};
}

namespace {
bool faults(uint64_t linear, size_t bytes) {
    uint64_t bad = machine->bad_address;
    return linear < kPageSize || (bad && linear < bad + 8 && bad < linear + bytes);
}
}  // namespace

Result<> copy_from_guest(void* to, uint64_t linear, size_t bytes) {
    if (faults(linear, bytes)) return Errno::kEFAULT;
    memcpy(to, reinterpret_cast<void*>(linear), bytes);
    return {};
}
Result<> copy_to_guest(uint64_t linear, const void* from, size_t bytes) {
    if (faults(linear, bytes)) return Errno::kEFAULT;
    memcpy(reinterpret_cast<void*>(linear), from, bytes);
    return {};
}

Result<> map_grant(uint64_t host_address, Mfn frame, bool read_only, uint32_t) {
    if (machine->refuse_map || machine->ptes.contains(host_address)) return Errno::kEINVAL;
    machine->ptes[host_address] = {frame, read_only};
    return {};
}
Result<> unmap_grant(uint64_t host_address, Mfn frame, bool read_only, uint32_t,
                     uint64_t new_address) {
    auto pte = machine->ptes.find(host_address);
    if (pte == machine->ptes.end() || pte->second != FakeMachine::Pte{frame, read_only})
        return Errno::kEINVAL;
    machine->ptes_since_flush.push_back(*pte);
    machine->ptes.erase(pte);
    if (new_address) {
        machine->ptes[host_address] = machine->ptes[new_address];
        machine->ptes.erase(new_address);
    }
    return {};
}
Result<Mfn> guest_frame_to_mfn(Domain&, Gfn gfn) {
    return Mfn{gfn.raw()};
}

Result<> pirq_bind(Domain&, Pirq pirq, Vcpu& vcpu, bool) {
    if (machine->refused_pirqs.contains(pirq.raw())) return Errno::kEPERM;
    machine->bound_pirqs[pirq.raw()] = vcpu.id.raw();
    return {};
}
void pirq_unbind(Domain&, Pirq pirq) {
    machine->bound_pirqs.erase(pirq.raw());
}
void pirq_set_vcpu(Domain&, Pirq pirq, Vcpu& vcpu) {
    machine->bound_pirqs[pirq.raw()] = vcpu.id.raw();
}
void pirq_unmasked(Domain&, Pirq) {}

void set_m2p(Mfn mfn, uint64_t pfn) {
    machine->m2p[mfn.raw()] = pfn;
}
void clear_page(Mfn mfn) {
    memset(mfn_to_virt(mfn), 0, kPageSize);
}
}  // namespace arch

namespace heap {
void* allocate(size_t bytes) {
    if (machine->next_allocation_fails()) return nullptr;
    size_t alignment = bytes >= kPageSize ? kPageSize : 64;
    void* object = aligned_alloc(alignment, round_up(bytes, alignment));
    memset(object, 0, bytes);
    machine->heap_objects.insert(object);
    return object;
}
void release(void* object) {
    if (object && !machine->heap_objects.erase(object)) abort();
    free(object);
}
}  // namespace heap

namespace memory {
Result<Mfn> alloc_frames(unsigned, AllocOptions) {
    if (machine->next_allocation_fails()) return Errno::kENOMEM;
    Mfn mfn{machine->free_list.back()};
    machine->free_list.pop_back();
    ++machine->frames_in_use;
    memset(arch::mfn_to_virt(mfn), 0, kPageSize);
    page_info(mfn)->refs = PageInfo::kHypervisor | 1;
    page_info(mfn)->type = 0;
    return mfn;
}
void free_frames(Mfn mfn, unsigned) {
    page_info(mfn)->refs = 0;
    --machine->frames_in_use;
    machine->free_list.push_back(mfn.raw());
}
static uint64_t owner_bits(const Domain& domain) {
    return PageInfo::kOwned | uint64_t{domain.id.raw()} << PageInfo::kOwnerShift;
}
Result<Mfn> alloc_domain_frames(Domain& domain, unsigned, AllocOptions) {
    Mfn mfn = TRY(alloc_frames(0));
    page_info(mfn)->refs = owner_bits(domain) | PageInfo::kAllocated | 1;
    return mfn;
}
void share_frame(Mfn mfn, Domain& domain, Access access) {
    page_info(mfn)->refs = owner_bits(domain) | PageInfo::kHypervisor | 1 |
                           (access == Access::kReadOnly ? PageInfo::kReadOnly : 0);
}
Result<> unshare_frame(Mfn mfn, Domain&) {
    if (page_info(mfn)->ref_count() != 1) return Errno::kEBUSY;
    page_info(mfn)->refs = PageInfo::kHypervisor | 1;
    return {};
}
void retire_shared_frame(Mfn mfn, Domain&) {
    page_info(mfn)->put();
}
void free_domain_frame(PageInfo& page) {
    if (page.type_count()) abort();
    // The rule that unmapping has to keep: no CPU may still reach a frame that is given back.
    for (auto& [address, pte] : machine->ptes_since_flush)
        if (pte.frame == mfn_of(page)) abort();
    free_frames(mfn_of(page), 0);
}
Result<PageInfo*> steal_page(Mfn mfn, Domain& domain) {
    PageInfo* page = page_info(mfn);
    if (!page || !page->owned_by(domain.id)) return Errno::kEINVAL;
    if (page->refs != (owner_bits(domain) | PageInfo::kAllocated | 1)) return Errno::kEBUSY;
    page->refs = PageInfo::kHypervisor | 1;
    return page;
}
Result<> assign_page(PageInfo& page, Domain& domain) {
    if (domain.dying.load() != Dying::kAlive) return Errno::kEINVAL;
    page.refs = owner_bits(domain) | PageInfo::kAllocated | 1;
    return {};
}
}  // namespace memory

namespace sched {
void wake(Vcpu& vcpu) {
    event::clear_poll(vcpu);
    vcpu.pause_flags.fetch_and(~pause::kBlocked);
    machine->woken.push_back(&vcpu);
}
}  // namespace sched

Domain* domain_table::peek(DomId id) {
    auto found = machine->domains.find(id.raw());
    return found == machine->domains.end() ? nullptr : found->second;
}
Result<DomainRef> Domain::find(DomId id) {
    auto found = machine->domains.find(id.raw());
    if (found == machine->domains.end() || !found->second->get()) return Errno::kESRCH;
    return DomainRef::adopt(found->second);
}
Result<DomainRef> Domain::find_or_self(DomId id) {
    return find(id == DomId{DOMID_SELF} ? arch::current().domain->id : id);
}
Domain* Domain::hardware() {
    return machine->domains[0];
}
bool Domain::get() {
    ++references;
    return true;
}
void Domain::put() {
    if (--references) return;
    machine->domains.erase(id.raw());
    grant::destroy_domain(*this);
    event::destroy_domain(*this);
    delete shared;
    for (uint32_t i = 0; i < max_vcpus; ++i) heap::destroy(vcpus[i]);
    heap::destroy(this);
}

void call_rcu(RcuHead& head, void (*function)(RcuHead*)) {
    function(&head);
}

bool log_enabled(LogLevel, bool) {
    return true;
}
void log_args(LogLevel, bool, std::string_view format, const base::FormatArg* args, size_t count) {
    std::string line;
    base::format_args(
        [](void* context, std::string_view piece) {
            static_cast<std::string*>(context)->append(piece);
        },
        &line, format, args, count);
    machine->log.push_back(line);
}
[[noreturn]] void panic_args(std::string_view format, const base::FormatArg* args, size_t count) {
    log_args(LogLevel::kError, false, format, args, count);
    fprintf(stderr, "panic: %s\n", machine->log.back().c_str());
    abort();
}

}  // namespace hv

namespace base {
static std::vector<uint8_t> held_ranks;
void spin_wait() {
    abort();
}  // one thread: whoever waits for a lock here waits for ever
void note_lock_taken(uint8_t rank) {
    if (!held_ranks.empty() && held_ranks.back() > rank) abort();
    held_ranks.push_back(rank);
}
void note_lock_dropped(uint8_t) {
    held_ranks.pop_back();
}
}  // namespace base

namespace hv {

/// Sets the machine up and checks at the end that nothing has leaked.
class SmallMachine : public ::testing::Test {
  protected:
    SmallMachine() {
        machine = &machine_;
        machine_.arena =
            static_cast<char*>(aligned_alloc(kPageSize, FakeMachine::kFrames * kPageSize));
        arch::kDirectMap = reinterpret_cast<uintptr_t>(machine_.arena);
        arch::kFrameTable = reinterpret_cast<uintptr_t>(machine_.pages.data());
        memory::backed_sections[0] = 1;
        for (uint64_t mfn = FakeMachine::kFrames; --mfn > 16;) machine_.free_list.push_back(mfn);
    }
    ~SmallMachine() override {
        auto rest = machine_.domains;
        for (auto& [id, domain] : rest)
            if (domain->dying.load() == Dying::kAlive) kill(*domain);
        EXPECT_TRUE(machine_.domains.empty()) << "a domain is still referred to";
        EXPECT_EQ(machine_.frames_in_use, 0u) << "frames have leaked";
        EXPECT_TRUE(machine_.heap_objects.empty()) << "heap objects have leaked";
        EXPECT_TRUE(machine_.bound_pirqs.empty());
        EXPECT_TRUE(base::held_ranks.empty());
        process_softirqs();
        free(machine_.arena);
    }

    /// A domain with running vCPUs; each vCPU on its own CPU, the first one current.
    Domain& create(uint16_t id, DomainConfig config = {}) {
        auto* domain = heap::create<Domain>();
        domain->id = DomId{id};
        domain->config = config;
        domain->privileged = domain->is_hardware = id == 0;
        domain->max_vcpus = config.max_vcpus;
        domain->vcpus = heap::OwnedArray<Vcpu*>::create(config.max_vcpus).value();
        domain->shared = new shared_info();
        for (uint32_t i = 0; i < config.max_vcpus; ++i) {
            auto* vcpu = heap::create<Vcpu>(*domain, VcpuId{i});
            if (i < XEN_LEGACY_MAX_VCPUS) vcpu->info = &domain->shared->vcpu_info[i];
            vcpu->pause_flags = 0;
            vcpu->cpu = i;
            domain->vcpus[i] = vcpu;
        }
        EXPECT_TRUE(event::init_domain(*domain).ok());
        EXPECT_TRUE(grant::init_domain(*domain, config.grant).ok());
        machine_.domains[id] = domain;
        return *domain;
    }
    void run(Domain& domain, uint32_t vcpu = 0) { machine_.current = domain.vcpus[vcpu]; }
    void kill(Domain& domain) {
        domain.dying = Dying::kDying;  // and never back: a zombie is killed once
        while (event::close_all(domain)) process_softirqs();
        while (grant::release_mappings(domain)) process_softirqs();
        for (auto& page : machine_.pages)
            if (page.owned_by(domain.id) && page.clear_allocated()) page.put();
        domain.dying = Dying::kDead;
        domain.put();
    }
    /// A frame of the domain's own memory.
    Mfn frame_of(Domain& domain) { return *memory::alloc_domain_frames(domain, 0); }

    FakeMachine machine_;
};

}  // namespace hv
