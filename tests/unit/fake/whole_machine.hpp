// The whole hypervisor on the host: every room is the real one, from the table of hypercalls down
// to the frames, and only what a processor alone can do is fake: registers, TLBs, time, other CPUs.
// One CPU, one thread; nobody is scheduled, but the test says which vCPU calls.
//
// Objects of the hypervisor's heap come from malloc, so that the sanitizer sees every step beside
// them. A hypercall's arguments lie in a window that is all of the guest's linear memory there is
// to copy from and to; whatever else a guest names, faults. Include it in one source file only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <set>

#include <xen/xen.h>

#include "arch/guest_memory.hpp"
#include "cpu/fpu.hpp"
#include "fake/memory_machine.hpp"
#include "hv/console/console.hpp"
#include "hv/console/ring.hpp"
#include "hv/event/event.hpp"
#include "hv/hypercall/table.hpp"
#include "hv/sched/rcu.hpp"
#include "hv/sched/sched.hpp"
#include "hv/sched/softirq.hpp"
#include "hv/sched/timer.hpp"
#include "hv/x86/boot/boot_info.hpp"
#include "hv/x86/paging/flush.hpp"
#include "hv/x86/paging/m2p.hpp"
#include "hv/x86/pv/isolation.hpp"
#include "hv/x86/pv/mmu.hpp"

namespace hv {

struct WholeMachine {
    static constexpr uint64_t kArguments = 0x10000;  ///< linear address of the window
    static constexpr size_t kArgumentBytes = 64 * 1024;
    static constexpr uint64_t kRamStart = 32 * kMiB;

    MemoryMachine memory;
    Vcpu* current = nullptr;
    std::vector<uint8_t> arguments = std::vector<uint8_t>(kArgumentBytes);
    size_t heap_objects = 0;
    /// The n-th allocation from now (frames and heap counted together) fails; 0: none does.
    unsigned fail_allocation = 0;
    unsigned allocations = 0;    ///< asked for so far
    unsigned preempt_after = 0;  ///< that many polls from now something else waits; 0: never

    explicit WholeMachine(uint64_t ram_bytes);

    bool next_allocation_fails() {
        ++allocations;
        return fail_allocation && --fail_allocation == 0;
    }
    /// An object in the window, and its linear address.
    template <class T>
    T& at(size_t offset = 0) {
        return *reinterpret_cast<T*>(arguments.data() + offset);
    }
    static constexpr uint64_t linear(size_t offset = 0) { return kArguments + offset; }
    template <class T>
    uint64_t put(const T& value, size_t offset = 0) {
        memcpy(arguments.data() + offset, &value, sizeof value);
        return linear(offset);
    }

    struct Call {
        uint64_t number;
        uint64_t args[5];
    };
    /// One round; with true the vCPU's registers would now say how to go on.
    bool call_once(Call& call, int64_t& result);
    /// A hypercall of the current vCPU to its end; softirqs are done between its rounds.
    int64_t call(Call call);
    int64_t call(uint64_t number, std::initializer_list<uint64_t> args) {
        Call c{number, {}};
        std::copy(args.begin(), args.end(), c.args);
        return call(c);
    }
    /// Lets RCU and timers do what is due.
    static void settle() { process_softirqs(); }
    /// As XEN_DOMCTL_destroydomain, to the end. The caller holds no reference any more.
    void destroy(DomainRef domain);
};

inline WholeMachine* whole;

namespace arch {

Vcpu& current() {
    return *whole->current;
}
bool is_idle(const Vcpu& vcpu) {
    return vcpu.domain->id == DomId{DOMID_IDLE};
}
void kick_cpu(CpuId) {}
void poll_interrupts() {
    if (whole->preempt_after && --whole->preempt_after == 0) raise_softirq(Softirq::kExitWork);
}
void context_switch(Vcpu&, Vcpu&) {
    abort();
}
void sync_vcpu_state(Vcpu&) {}
void log_guest_state(const Domain&) {}
void machine_restart() {
    abort();
}
void machine_halt() {
    abort();
}
void machine_power_off() {
    abort();
}

void flush_tlb_page(const CpuMask&, uint64_t) {}
void flush_tlb_local() {}
void flush_cache() {}
void flush_caches(const CpuMask&) {}
void flush_cache_lines(const void*, size_t) {}
void serve_flush_request() {}

void program_timer(Nanoseconds) {}
void update_vcpu_time(Vcpu&) {}
void update_domain_wallclock(Domain&) {}
void set_wallclock(uint64_t, uint32_t, Nanoseconds) {}
uint64_t tsc_khz() {
    return 1000000;
}

void copy_page(Mfn to, Mfn from) {
    memcpy(mfn_to_virt(to), mfn_to_virt(from), kPageSize);
}

namespace {
uint8_t* window(uint64_t linear, size_t bytes) {
    const uint64_t offset = linear - WholeMachine::kArguments;
    const bool inside =
        offset <= WholeMachine::kArgumentBytes && bytes <= WholeMachine::kArgumentBytes - offset;
    return inside ? whole->arguments.data() + offset : nullptr;
}
}  // namespace

Result<> copy_from_guest(void* to, uint64_t linear, size_t bytes) {
    if (!bytes) return {};
    const uint8_t* from = window(linear, bytes);
    if (!from) return Errno::kEFAULT;
    memcpy(to, from, bytes);
    return {};
}
Result<> copy_to_guest(uint64_t linear, const void* from, size_t bytes) {
    if (!bytes) return {};
    uint8_t* to = window(linear, bytes);
    if (!to) return Errno::kEFAULT;
    memcpy(to, from, bytes);
    return {};
}
Result<> clear_guest(uint64_t linear, size_t bytes) {
    if (!bytes) return {};
    uint8_t* to = window(linear, bytes);
    if (!to) return Errno::kEFAULT;
    memset(to, 0, bytes);
    return {};
}

namespace fpu {
void set_guest_ts(Vcpu&, bool) {}
}  // namespace fpu

}  // namespace arch

namespace cpu {  // cpu_area.hpp, whose macros are sys/ucontext.h's, too
void load_ldt(CpuId, uint64_t, uint32_t) {}
}  // namespace cpu

namespace paging {
void show_m2p(Mfn) {}
void hide_m2p(Mfn) {}
}  // namespace paging

namespace pv {
void load_page_tables(Vcpu&) {}
void invalidate_page(uint64_t) {}
void toggle_mode(Vcpu& vcpu) {
    vcpu.arch.pv.kernel_mode = !vcpu.arch.pv.kernel_mode;
}
namespace isolation {
bool wanted(bool) {
    return false;
}
bool possible() {
    return false;
}
void tables_changed(Vcpu&) {}
}  // namespace isolation
}  // namespace pv

namespace console {
void write_past_ring(std::string_view) {}
void write(std::string_view) {}
size_t take_input(char*, size_t) {
    return 0;
}
}  // namespace console

namespace heap {
void* allocate(size_t bytes) {
    if (bytes > kGiB || whole->next_allocation_fails()) return nullptr;
    const size_t alignment = bytes >= kPageSize ? kPageSize : 16;
    void* object = aligned_alloc(alignment, round_up(bytes ? bytes : 1, alignment));
    memset(object, 0, bytes);
    ++whole->heap_objects;
    return object;
}
void release(void* object) {
    if (!object) return;
    --whole->heap_objects;
    free(object);
}
}  // namespace heap

namespace memory {
Result<Mfn> alloc_frames(unsigned order, AllocOptions options) {
    if (whole->next_allocation_fails()) return Errno::kENOMEM;
    const Mfn first = TRY(take_block(order, options, 0));
    prepare_block(first, order, options.zeroed, PageInfo::kHypervisor | 1);
    return first;
}
Result<Mfn> alloc_domain_frames(Domain& domain, unsigned order, AllocOptions options) {
    const Mfn first = TRY(alloc_frames(order, options));
    if (const Result<> entered = assign_block(first, order, domain); !entered) {
        free_frames(first, order);
        return entered.error();
    }
    return first;
}
}  // namespace memory

inline WholeMachine::WholeMachine(uint64_t ram_bytes) {
    whole = this;
    memory.preempt = [] {
        arch::poll_interrupts();
        return softirq_pending();
    };
    boot::add_region({kRamStart, ram_bytes, boot::kRam});
    boot::finish_memory_map();
    memory::describe_ram({kRamStart, kRamStart + ram_bytes});
    memory::add_free_range({kRamStart, kRamStart + ram_bytes});
    timers_init();
    rcu_init();
    sched::init("credit");
    if (!sched::cpu_up(0).ok()) abort();
    set_softirq_handler(Softirq::kSchedule, nullptr);  // the test chooses who runs
    current = &sched::idle_vcpu(0);
    // The first frame of a section costs the page structs of all.
    memory::free_frames(*memory::alloc_frames(0), 0);
}

inline bool WholeMachine::call_once(Call& call, int64_t& result) {
    const auto [a, b, c, d, e] = call.args;
    const Outcome outcome = find_hypercall(call.number)(a, b, c, d, e);
    result = outcome.value;
    if (!outcome.again) return false;
    const Continuation& next = current->continuation;
    for (unsigned i = 0; i < next.count; ++i) call.args[i] = next.args[i];
    return true;
}

inline int64_t WholeMachine::call(Call call) {
    int64_t result = 0;
    for (unsigned rounds = 0; call_once(call, result); ++rounds) {
        if (rounds > 100000) abort();  // makes no progress
        settle();
    }
    settle();
    return result;
}

inline void WholeMachine::destroy(DomainRef domain) {
    Vcpu* const before = current;
    if (before->domain == domain.get()) current = &sched::idle_vcpu(0);
    for (;;) {
        const Result<bool> again = domain->kill();
        if (!again.ok()) abort();
        if (!*again) break;
        settle();
    }
    domain.reset();
    settle();
}

}  // namespace hv
