#include "hv/x86/irq/pirq.hpp"

#include "arch/irq.hpp"
#include "arch/memory.hpp"
#include "base/nospec.hpp"
#include "hv/domain/domain.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/event/event.hpp"
#include "hv/memory/page.hpp"

namespace hv {
namespace {

using arch::kMaxPirqs;
using arch::PirqEntry;
using Entries = std::array<PirqEntry, kMaxPirqs>;

constexpr uint32_t kIsaLines = 16;

/// nullptr: no such number. The index is masked against speculation.
PirqEntry* entry_of(Entries& entries, uint32_t pirq) {
    if (pirq >= kMaxPirqs) return nullptr;
    return &entries[base::index_nospec(pirq, kMaxPirqs)];
}

/// Tells the guest, in the page it registered, whether the PIRQ needs PHYSDEVOP_eoi.
void set_needs_eoi(Domain& domain, uint32_t pirq, bool needed) {
    std::atomic<uint64_t>* map = domain.arch.pirqs->eoi_map;
    if (!map) return;
    const uint64_t bit = uint64_t{1} << (pirq % 64);
    if (needed)
        map[pirq / 64].fetch_or(bit);
    else
        map[pirq / 64].fetch_and(~bit);
}

/// Table locked. From the top for messages, from the first PCI pin for pins, as Xen numbers them.
Result<uint32_t> find_free(Entries& entries, bool for_pin) {
    const uint32_t pins = irq::line_count();
    if (for_pin)
        for (uint32_t i = kIsaLines; i < pins && i < kMaxPirqs; ++i)
            if (!entries[i].taken) return i;
    for (uint32_t i = kMaxPirqs; i-- > pins;)
        if (!entries[i].taken) return i;
    return Errno::kENOSPC;
}

Result<uint32_t> choose(Entries& entries, int wanted, bool for_pin) {
    if (wanted < 0) return find_free(entries, for_pin);
    if (static_cast<uint32_t>(wanted) >= kMaxPirqs) return Errno::kEINVAL;
    return static_cast<uint32_t>(wanted);
}

void unbind(Domain& domain, PirqEntry& entry, uint32_t pirq) {
    if (!entry.bound) return;
    irq::unbind_guest(*entry.line, domain);
    set_needs_eoi(domain, pirq, false);
    entry.bound = false;
}

/// Table locked. Whatever the PIRQ stood for, it stands for nothing afterwards.
void clear(Domain& domain, PirqEntry& entry, uint32_t pirq) {
    unbind(domain, entry, pirq);
    if (entry.line && entry.line->is_msi) irq::destroy_msi_line(entry.line);
    entry = PirqEntry{};
}

}  // namespace

namespace irq {

Result<> create_pirqs(Domain& domain) {
    domain.arch.pirqs = heap::create<arch::PirqTable>();
    if (!domain.arch.pirqs) return Errno::kENOMEM;
    return {};
}

void relinquish_pirqs(Domain& domain) {
    if (!domain.arch.pirqs) return;
    auto entries = domain.arch.pirqs->entries.lock();
    for (uint32_t i = 0; i < kMaxPirqs; ++i) clear(domain, (*entries)[i], i);
    if (!domain.arch.pirqs->eoi_map) return;
    domain.arch.pirqs->eoi_map = nullptr;
    PageInfo* page = page_info(domain.arch.pirqs->eoi_mfn);
    domain.arch.pirqs->eoi_mfn = kInvalidMfn;
    page->put_simple_type();
    page->put();
}

void destroy_pirqs(Domain& domain) {
    relinquish_pirqs(domain);
    heap::destroy(domain.arch.pirqs);
    domain.arch.pirqs = nullptr;
}

uint32_t pirq_count(const Domain& domain) {
    return domain.arch.pirqs ? kMaxPirqs : 0;
}

Result<Pirq> map_pin(Domain& domain, uint32_t number, int wanted) {
    Irq* line = line_of(number);
    if (!line || !domain.arch.pirqs) return Errno::kEINVAL;
    if (line->reserved) return Errno::kEPERM;
    auto entries = domain.arch.pirqs->entries.lock();
    for (uint32_t i = 0; i < kMaxPirqs; ++i)
        if ((*entries)[i].line == line) {
            if (wanted >= 0 && static_cast<uint32_t>(wanted) != i) return Errno::kEEXIST;
            return Pirq{i};
        }
    const uint32_t pirq = TRY(choose(*entries, wanted, true));
    PirqEntry& entry = *entry_of(*entries, pirq);
    if (!entry.line) entry = {line, true, false};
    return Pirq{pirq};
}

Result<Pirq> map_message(Domain& domain, const Msi& msi, int wanted) {
    if (!domain.arch.pirqs) return Errno::kEINVAL;
    auto entries = domain.arch.pirqs->entries.lock();
    const uint32_t pirq = TRY(choose(*entries, wanted, false));
    PirqEntry& entry = *entry_of(*entries, pirq);
    if (entry.line) return Errno::kEINVAL;
    for (const PirqEntry& other : *entries)  // one PIRQ for each message of the function
        if (other.line && other.line->is_msi && other.line->msi.bdf == msi.bdf &&
            other.line->msi.is_msix == msi.is_msix && other.line->msi.entry == msi.entry)
            return Errno::kEEXIST;
    entry = {TRY(create_msi_line(msi)), true, false};
    return Pirq{pirq};
}

Result<> unmap_pirq(Domain& domain, Pirq pirq) {
    if (!domain.arch.pirqs) return Errno::kEINVAL;
    auto entries = domain.arch.pirqs->entries.lock();
    PirqEntry* entry = entry_of(*entries, pirq.raw());
    if (!entry || !entry->line) return Errno::kEINVAL;
    clear(domain, *entry, pirq.raw());
    return {};
}

Result<Pirq> reserve_pirq(Domain& domain, bool for_pin) {
    if (!domain.arch.pirqs) return Errno::kENOSPC;
    auto entries = domain.arch.pirqs->entries.lock();
    const uint32_t pirq = TRY(find_free(*entries, for_pin));
    (*entries)[pirq].taken = true;
    return Pirq{pirq};
}

Result<> pirq_eoi(Domain& domain, Pirq pirq) {
    if (!domain.arch.pirqs) return Errno::kEINVAL;
    {
        auto entries = domain.arch.pirqs->entries.lock();
        PirqEntry* entry = entry_of(*entries, pirq.raw());
        if (!entry || !entry->taken) return Errno::kEINVAL;
        if (entry->bound) guest_eoi(*entry->line, domain);
    }
    if (domain.arch.pirqs->auto_unmask) event::unmask_pirq(domain, pirq);
    return {};
}

Result<> publish_eoi_map(Domain& domain, Mfn frame, bool eoi_unmasks) {
    if (!domain.arch.pirqs) return Errno::kEINVAL;
    WritablePageRef page = TRY(WritablePageRef::take(frame, domain.id));
    auto entries = domain.arch.pirqs->entries.lock();
    if (domain.arch.pirqs->eoi_map) return Errno::kEBUSY;
    (void)page.release();  // held until relinquish_pirqs()
    domain.arch.pirqs->eoi_mfn = frame;
    domain.arch.pirqs->eoi_map = arch::mfn_to_virt<std::atomic<uint64_t>>(frame);
    domain.arch.pirqs->auto_unmask = eoi_unmasks;
    for (uint32_t i = 0; i < kMaxPirqs; ++i)
        if ((*entries)[i].bound) set_needs_eoi(domain, i, (*entries)[i].line->needs_eoi());
    return {};
}

Result<> restore_messages(Domain& domain, Bdf bdf) {
    if (!domain.arch.pirqs) return Errno::kENODEV;
    bool any = false;
    auto entries = domain.arch.pirqs->entries.lock();
    for (PirqEntry& entry : *entries) {
        if (!entry.line || !entry.line->is_msi || entry.line->msi.bdf != bdf) continue;
        restore_msi_line(*entry.line);
        any = true;
    }
    if (!any) return Errno::kENODEV;
    return {};
}

void forget_messages(Domain& domain, Bdf bdf) {
    if (!domain.arch.pirqs) return;
    auto entries = domain.arch.pirqs->entries.lock();
    for (uint32_t i = 0; i < kMaxPirqs; ++i) {
        PirqEntry& entry = (*entries)[i];
        if (entry.line && entry.line->is_msi && entry.line->msi.bdf == bdf) clear(domain, entry, i);
    }
}

}  // namespace irq

namespace arch {

Result<> pirq_bind(Domain& domain, Pirq pirq, Vcpu& vcpu, bool) {
    if (!domain.arch.pirqs) return Errno::kEINVAL;
    auto entries = domain.arch.pirqs->entries.lock();
    PirqEntry* entry = entry_of(*entries, pirq.raw());
    if (!entry || !entry->line || entry->bound) return Errno::kEINVAL;
    TRY(irq::bind_guest(*entry->line, domain, pirq, vcpu.cpu.load()));
    entry->bound = true;
    set_needs_eoi(domain, pirq.raw(), entry->line->needs_eoi());
    return {};
}

void pirq_unbind(Domain& domain, Pirq pirq) {
    if (!domain.arch.pirqs) return;
    auto entries = domain.arch.pirqs->entries.lock();
    if (PirqEntry* entry = entry_of(*entries, pirq.raw())) unbind(domain, *entry, pirq.raw());
}

void pirq_set_vcpu(Domain& domain, Pirq pirq, Vcpu& vcpu) {
    if (!domain.arch.pirqs) return;
    auto entries = domain.arch.pirqs->entries.lock();
    PirqEntry* entry = entry_of(*entries, pirq.raw());
    if (entry && entry->bound) irq::move_to_cpu(*entry->line, vcpu.cpu.load());
}

// A guest says PHYSDEVOP_eoi for every line that needs it; unmasking its port is no sign that the
// device is calm (Linux unmasks before it has looked).
void pirq_unmasked(Domain&, Pirq) {}

}  // namespace arch
namespace arch {

bool pirq_in_range(const Domain& domain, Pirq pirq) {
    return pirq.raw() < irq::pirq_count(domain);
}

bool pirq_is_mapped(const Domain& domain, Pirq pirq) {
    if (!pirq_in_range(domain, pirq)) return false;
    const PirqEntry* entry = entry_of(*domain.arch.pirqs->entries.lock(), pirq.raw());
    return entry && entry->line;
}

}  // namespace arch
}  // namespace hv
