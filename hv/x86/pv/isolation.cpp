#include "hv/x86/pv/isolation.hpp"

#include <bit>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/cpu/cpu_area.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/native.hpp"
#include "hv/x86/paging/host.hpp"
#include "hv/x86/pv/mmu.hpp"

extern "C" {
extern char entry_text_start[], entry_text_end[];
}

namespace hv::pv::isolation {
namespace {

using paging::Entry;

/// The L4 tables that a CPU enters isolated guests with, each a copy of a guest's.
struct Roots {
    static constexpr uint32_t kCount = 4;  // two processes or vCPUs, each with kernel and user mode
    Mfn first;                             ///< of kCount frames in a row
    uint64_t stamps[kCount];               ///< of what each was copied from; 0: of nothing
    uint32_t next;                         ///< the one to be overwritten next
};
PerCpu<Roots> roots;
// CPUs whose root is to be copied anew before they enter their guest.
AtomicCpuMask stale_roots;
// What it shows of the image: the entry code and the IDT, the same for all CPUs.
Mfn image_l3 = kInvalidMfn;

constexpr uint64_t kTable = Entry::kPresent | Entry::kWrite | Entry::kAccessed;

Entry* table_at(Mfn mfn) {
    return arch::mfn_to_virt<Entry>(mfn);
}

Result<Mfn> lower(Entry& slot) {
    if (!slot.present()) slot = Entry(TRY(memory::alloc_frames(0)), kTable);
    return slot.mfn();
}

/// Shows [start, end), which the hypervisor has mapped in 4 KiB pages, under `l3` as well. Nothing
/// here may be global: it would outlive the change of tables.
Result<> show(Mfn l3, uint64_t start, uint64_t end) {
    for (uint64_t linear = start; linear < end; linear += kPageSize) {
        const Entry* leaf = paging::host_leaf(linear);
        if (!leaf || !leaf->present()) continue;  // a guard page
        const Mfn l2 = TRY(lower(table_at(l3)[paging::index_of(linear, 3)]));
        const Mfn l1 = TRY(lower(table_at(l2)[paging::index_of(linear, 2)]));
        table_at(l1)[paging::index_of(linear, 1)] = leaf->without(Entry::kGlobal);
    }
    return {};
}

/// Copies the entries of slots [first, end) by one string instruction.
void copy_slots(Entry* to, const Entry* from, size_t first, size_t end) {
    to += first, from += first;
    size_t count = end - first;
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count)::"memory");
}

/// Meltdown: Intel's CPUs that do not say RDCL_NO (MSR 0x10a bit 0), as far as CPUID tells.
bool processor_needs_it() {
    const auto vendor = native::cpuid(0);
    if (vendor.b != 0x756e6547) return false;  // "Genu"
    const bool has_arch_caps = native::cpuid(0).a >= 7 && (native::cpuid(7).d >> 29 & 1);
    return !(has_arch_caps && (arch::read_msr(0x10a) & 1));
}

}  // namespace

bool wanted(bool hardware_domain) {
    const int option = hardware_domain ? boot::options().xpti_dom0 : boot::options().xpti_domu;
    return option < 0 ? processor_needs_it() : option != 0;
}

bool possible() {
    return wanted(true) || wanted(false);
}

Result<> prepare_cpu(CpuId cpu) {
    if (image_l3 == kInvalidMfn) {
        image_l3 = TRY(memory::alloc_frames(0));
        TRY(show(image_l3, reinterpret_cast<uint64_t>(entry_text_start),
                 reinterpret_cast<uint64_t>(entry_text_end)));
        TRY(show(image_l3, cpu::idt_address(), cpu::idt_address() + kPageSize));
    }
    // The CPU's own area lies in the same slot, in another GiB.
    constexpr size_t kImageIndex = paging::index_of(paging::kImage, 3);
    static_assert(paging::index_of(paging::kImage, 4) == paging::index_of(paging::kCpuAreas, 4) &&
                  kImageIndex != paging::index_of(paging::kCpuAreas, 3));
    const Mfn l3 = TRY(memory::alloc_frames(0));
    table_at(l3)[kImageIndex] = table_at(image_l3)[kImageIndex];
    TRY(show(l3, cpu::area_address(cpu), cpu::area_address(cpu) + cpu::kAreaUsed));
    static_assert(std::has_single_bit(Roots::kCount));
    const Mfn first = TRY(memory::alloc_frames(std::countr_zero(Roots::kCount)));
    for (uint32_t i = 0; i < Roots::kCount; ++i)
        table_at(first + i)[paging::kSlotImage] = Entry(l3, kTable);
    roots.on(cpu) = {.first = first, .stamps = {}, .next = 0};
    return {};
}

namespace {

/// This CPU's root that shows what `l4`, a guest's, has in the guest's half.
Mfn root_of(const Entry* l4) {
    Roots& mine = roots.on(arch::this_cpu());
    // The stamp first, then the entries: who changes one writes in the other order, so that what is
    // copied here is never older than what the stamp says.
    const uint64_t stamp = __atomic_load_n(
        reinterpret_cast<const uint64_t*>(&l4[paging::kSlotStamp]), __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; stamp && i < Roots::kCount; ++i)
        if (mine.stamps[i] == stamp) return mine.first + i;
    const uint32_t index = mine.next++ % Roots::kCount;
    Entry* to = table_at(mine.first + index);
    copy_slots(to, l4, 0, paging::kFirstHypervisorSlot);
    copy_slots(to, l4, paging::kLastHypervisorSlot + 1, paging::kEntries);
    mine.stamps[index] = stamp;
    return mine.first + index;
}

}  // namespace

void tables_changed(Vcpu& vcpu) {
    cpu::CpuInfo& info = cpu::cpu_info();
    if (!vcpu.domain->arch.isolate_page_tables) {
        info.hv_cr3 = info.guest_cr3 = 0;
        return;
    }
    const Entry* from = table_at(mfn_of(vcpu.arch.hv_cr3));
    const Mfn root = root_of(from);
    Entry* to = table_at(root);
    // The stamp does not speak of these: the M2P's comes and goes with a table's use.
    for (const size_t slot : {paging::kSlotM2p, paging::kSlotPerDomain}) to[slot] = from[slot];
    info.hv_cr3 = vcpu.arch.hv_cr3;
    info.guest_cr3 = address_of(root);
}

void l4_changed(Domain& domain, Entry* l4) {
    if (!domain.arch.isolate_page_tables) return;
    stamp(l4);
    // Other CPUs of the domain copy the table anew before they enter it again: the softirq makes
    // them pass the exit work.
    const CpuId self = arch::this_cpu();
    if (&domain == arch::current().domain) tables_changed(arch::current());
    CpuMask others = domain.dirty_cpus.snapshot();
    others.clear(self);
    others.for_each([](size_t cpu) { stale_roots.set(cpu); });
    others.for_each([](size_t cpu) { arch::kick_cpu(static_cast<CpuId>(cpu)); });
}

void refresh_if_stale() {
    if (!stale_roots.test_and_clear(arch::this_cpu())) return;
    Vcpu& vcpu = arch::current();
    if (!arch::is_idle(vcpu)) tables_changed(vcpu);
}

}  // namespace hv::pv::isolation
