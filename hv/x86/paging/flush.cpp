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

// Whole TLBs. Nobody waits for who asks the same: a CPU that is behind is marked, and each who asks
// waits until it has done a flush that it began after they asked, at whoever's request or by
// itself.
std::atomic<uint64_t> flush_clock{1};  ///< counts them as they begin
/// A CPU's own: the count that the last flush which it has done began with.
PerCpu<std::atomic<uint64_t>> flushed_at;
AtomicCpuMask wanted;
AtomicCpuMask guest_loaded;

// Single pages and caches: one request at a time, under the lock; `pending` is who still has to
// serve it. It asks for a page by its address, or for what is no page's.
constexpr uint64_t kCaches = ~uint64_t{0};
SpinLock request_lock{static_cast<uint8_t>(Rank::kFlush)};
std::atomic<uint64_t> request_linear{kCaches};
AtomicCpuMask pending;

void flush_page_local(uint64_t linear) {
    asm volatile("invlpg (%0)" ::"r"(linear) : "memory");
}

void serve(uint64_t what) {
    if (what == kCaches)
        flush_cache();
    else
        flush_page_local(what);
}

/// Those of `cpus` that have done no flush of everything that began after flush_clock was `since`.
CpuMask behind(const CpuMask& cpus, uint64_t since) {
    CpuMask late;
    cpus.for_each([&](size_t cpu) {
        if (flushed_at.on(static_cast<CpuId>(cpu)).load() <= since) late.set(cpu);
    });
    return late;
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
    base::wait_until([&] { return (cpus & pending.snapshot()).empty(); });
}

}  // namespace

void flush_tlb_local() {
    // The stamp is taken before the flush: a frame freed in between is then seen as not flushed.
    const uint64_t stamp = flush_clock.fetch_add(1) + 1;
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
    if (wanted.test(self)) {
        wanted.clear(self);  // before the flush: who marks us from here on may want another
        flush_tlb_local();
    }
    if (!pending.test(self)) return;
    serve(request_linear.load(std::memory_order_relaxed));
    pending.clear(self);
}

void flush_tlb(const CpuMask& cpus) {
    const CpuId self = this_cpu();
    // What a domain has mapped is mostly of this CPU alone.
    if (cpus == CpuMask::single(self)) return flush_tlb_local();
    // What the caller changed is to be seen by any flush that counts.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const uint64_t asked = flush_clock.load();
    if (cpus.test(self)) flush_tlb_local();
    CpuMask late = behind(cpus & online_cpus(), asked);
    late.clear(self);
    if (late.empty()) return;
    late.for_each([](size_t cpu) { wanted.set(cpu); });
    irq::lapic::send_ipi(late, irq::kVectorFlush);
    base::wait_until([&] { return (late = behind(late & online_cpus(), asked)).empty(); });
}
void flush_tlb_page(const CpuMask& cpus, uint64_t linear) {
    request(cpus, linear);
}
uint32_t tlb_flush_stamp() {
    return static_cast<uint32_t>(flush_clock.load());
}

CpuMask cpus_not_flushed_since(const CpuMask& cpus, uint32_t stamp) {
    // The last time that the clock's low half read so: one that lies further back is taken for
    // later than it was, and costs a flush that was not needed.
    const uint64_t now = flush_clock.load();
    const uint64_t since = now - static_cast<uint32_t>(static_cast<uint32_t>(now) - stamp);
    return behind(cpus & guest_loaded.snapshot(), since);
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
