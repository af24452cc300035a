#include "hv/x86/paging/flush.hpp"

#include <atomic>

#include "arch/cpu.hpp"
#include "base/lock.hpp"
#include "hv/lock_rank.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/irq/lapic.hpp"
#include "hv/x86/irq/vectors.hpp"

namespace hv::arch {
namespace {

// What a request asks for: a page by its address, or one of these, which are no page's.
constexpr uint64_t kEverything = ~uint64_t{0};
constexpr uint64_t kCaches = kEverything - 1;

// One request at a time, under the lock; `pending` is who still has to serve it.
SpinLock request_lock{static_cast<uint8_t>(Rank::kFlush)};
std::atomic<uint64_t> request_linear{kEverything};
AtomicCpuMask pending;

// Counts flushes of whole TLBs; a CPU's own value is what it was when it last began one.
std::atomic<uint32_t> flush_clock{1};
PerCpu<std::atomic<uint32_t>> flushed_at;
AtomicCpuMask guest_loaded;

void flush_page_local(uint64_t linear) {
    asm volatile("invlpg (%0)" ::"r"(linear) : "memory");
}

void serve(uint64_t what) {
    if (what == kEverything)
        flush_tlb_local();
    else if (what == kCaches)
        flush_cache();
    else
        flush_page_local(what);
}

void request(CpuMask cpus, uint64_t linear) {
    const CpuId self = this_cpu();
    const bool here = cpus.test(self);
    cpus.clear(self);
    cpus &= online_cpus();
    if (here) serve(linear);
    if (cpus.empty()) return;

    LockGuard guard(request_lock);
    request_linear.store(linear, std::memory_order_relaxed);
    cpus.for_each([](size_t cpu) { pending.set(cpu); });
    irq::lapic::send_ipi(cpus, irq::kVectorFlush);
    for (;;) {
        bool waiting = false;
        cpus.for_each([&](size_t cpu) { waiting |= pending.test(cpu); });
        if (!waiting) return;
        asm volatile("pause");
    }
}

}  // namespace

void flush_tlb_local() {
    // The stamp is taken before the flush: a frame freed in between is then seen as not flushed.
    const uint32_t stamp = flush_clock.fetch_add(1) + 1;
    // Global entries go only when CR4.PGE changes (AMD64 manual vol. 2, 5.5.3).
    const uint64_t cr4 = cpu::read_cr4();
    if (cr4 & cpu::kCr4Pge) {
        cpu::write_cr4(cr4 & ~cpu::kCr4Pge);
        cpu::write_cr4(cr4);
    } else {
        cpu::write_cr3(cpu::read_cr3());
    }
    flushed_at.on(this_cpu()).store(stamp);
}

void note_guest_loaded(bool loaded) {
    const CpuId cpu = this_cpu();
    loaded ? guest_loaded.set(cpu) : guest_loaded.clear(cpu);
}

void serve_flush_request() {
    const CpuId self = this_cpu();
    if (!pending.test(self)) return;
    const uint64_t linear = request_linear.load(std::memory_order_relaxed);
    serve(linear);
    pending.clear(self);
}

void flush_tlb(const CpuMask& cpus) {
    // What a domain has mapped is mostly of this CPU alone.
    if (cpus == CpuMask::single(this_cpu())) return flush_tlb_local();
    request(cpus, kEverything);
}
void flush_tlb_page(const CpuMask& cpus, uint64_t linear) {
    request(cpus, linear);
}
uint32_t tlb_flush_stamp() {
    return flush_clock.load();
}

CpuMask cpus_not_flushed_since(const CpuMask& cpus, uint32_t stamp) {
    CpuMask stale;
    cpus.for_each([&](size_t cpu) {
        if (!guest_loaded.test(cpu)) return;
        // Signed difference, so that the clock may wrap; what looks like the future is stale.
        const auto age =
            static_cast<int32_t>(flushed_at.on(static_cast<CpuId>(cpu)).load() - stamp);
        if (age <= 0) stale.set(cpu);
    });
    return stale;
}

void flush_caches(const CpuMask& cpus) {
    request(cpus, kCaches);
}
void flush_cache() {
    asm volatile("wbinvd" ::: "memory");
}

}  // namespace hv::arch

namespace base {

void spin_wait() {
    asm volatile("pause");
    hv::arch::serve_flush_request();
}

}  // namespace base
