#include "hv/x86/pv/descriptor.hpp"

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/x86/cpu/cpu_area.hpp"
#include "hv/x86/paging/flush.hpp"
#include "hv/x86/paging/host.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/page_type.hpp"

namespace hv::pv {
namespace {

using paging::Entry;

constexpr uint64_t kDescriptorPresent = uint64_t{1} << 47;
constexpr uint64_t kDescriptorSegment = uint64_t{1} << 44;  // S: code or data, not system
constexpr uint64_t kDescriptorDpl3 = uint64_t{3} << 45;
constexpr unsigned kDescriptorsPerPage = kPageSize / 8;

constexpr uint64_t kTableFlags = Entry::kPresent | Entry::kWrite | Entry::kAccessed;
// The processor sets the accessed bit of a descriptor it loads, so it must be able to write.
constexpr uint64_t kWindowFlags =
    Entry::kPresent | Entry::kWrite | Entry::kAccessed | Entry::kDirty | Entry::kNoExecute;

Result<Mfn> descriptor_frame(Domain& domain, Mfn mfn) {
    PageRef page = TRY(PageRef::take(mfn, domain.id));
    AloneGuard guard(domain.arch.paging_lock);
    TRY(get_table_type(domain, *page.get(), PageType::kDescriptor));
    (void)page.release();
    return mfn;
}

void put_descriptor_frame(Mfn mfn) {
    PageInfo& page = *page_info(mfn);
    page.put_simple_type();
    page.put();
}

Entry* table_of(Entry e) {
    return arch::mfn_to_virt<Entry>(e.mfn());
}

Result<Entry*> lower_table(Entry& slot) {
    if (!slot.present()) slot = Entry(TRY(memory::alloc_frames(0)), kTableFlags);
    return table_of(slot);
}

}  // namespace

Result<> check_descriptor(uint64_t& descriptor) {
    if (!(descriptor & kDescriptorPresent)) return {};
    // System descriptors: a TSS or LDT would be ours to make, and a gate could lead into us.
    if (!(descriptor & kDescriptorSegment)) return Errno::kEINVAL;
    descriptor |= kDescriptorDpl3;
    return {};
}

Result<> check_descriptor_page(Mfn mfn) {
    auto* descriptors = arch::mfn_to_virt<uint64_t>(mfn);
    for (unsigned i = 0; i < kDescriptorsPerPage; ++i) {
        uint64_t d = __atomic_load_n(&descriptors[i], __ATOMIC_RELAXED);
        const uint64_t before = d;
        TRY(check_descriptor(d));
        if (d != before) __atomic_store_n(&descriptors[i], d, __ATOMIC_RELAXED);
    }
    return {};
}

Result<> create_window(Vcpu& vcpu) {
    const Mfn l3 = vcpu.domain->arch.perdomain_l3;
    const uint64_t linear = paging::gdt_address(vcpu.id.raw());
    Entry* l2 = TRY(lower_table(arch::mfn_to_virt<Entry>(l3)[paging::index_of(linear, 3)]));
    TRY(lower_table(l2[paging::index_of(linear, 2)]));
    return {};
}

void destroy_windows(Domain& domain) {
    const Mfn l3 = domain.arch.perdomain_l3;
    if (l3 == kInvalidMfn) return;
    Entry* l3_table = arch::mfn_to_virt<Entry>(l3);
    for (size_t i = 0; i < paging::kEntries; ++i) {
        if (!l3_table[i].present()) continue;
        Entry* l2 = table_of(l3_table[i]);
        for (size_t j = 0; j < paging::kEntries; ++j)
            if (l2[j].present()) memory::free_frames(l2[j].mfn(), 0);
        memory::free_frames(l3_table[i].mfn(), 0);
    }
    memory::free_frames(l3, 0);
    domain.arch.perdomain_l3 = kInvalidMfn;
}

Entry* window_entry(const Vcpu& vcpu, unsigned page) {
    const Mfn l3 = vcpu.domain->arch.perdomain_l3;
    if (l3 == kInvalidMfn) return nullptr;
    const uint64_t linear = paging::gdt_address(vcpu.id.raw()) + page * kPageSize;
    const Entry e3 = arch::mfn_to_virt<Entry>(l3)[paging::index_of(linear, 3)];
    if (!e3.present()) return nullptr;
    const Entry e2 = table_of(e3)[paging::index_of(linear, 2)];
    if (!e2.present()) return nullptr;
    return table_of(e2) + paging::index_of(linear, 1);
}

void drop_gdt(Vcpu& vcpu) {
    arch::PvVcpu& pv = vcpu.arch.pv;
    for (unsigned i = 0; i < FIRST_RESERVED_GDT_PAGE; ++i) {
        if (pv.gdt_frames[i] == kInvalidMfn) continue;
        *window_entry(vcpu, i) = Entry();
        put_descriptor_frame(pv.gdt_frames[i]);
        pv.gdt_frames[i] = kInvalidMfn;
    }
    pv.gdt_entries = 0;
}

Result<> set_gdt(Vcpu& vcpu, const Mfn* frames, uint32_t entries) {
    if (entries > FIRST_RESERVED_GDT_ENTRY) return Errno::kEINVAL;
    const unsigned pages = (entries + kDescriptorsPerPage - 1) / kDescriptorsPerPage;
    for (unsigned i = 0; i < pages; ++i) {
        const Result<Mfn> frame = descriptor_frame(*vcpu.domain, frames[i]);
        if (frame.ok()) continue;
        while (i--) put_descriptor_frame(frames[i]);
        return frame.error();
    }
    drop_gdt(vcpu);
    for (unsigned i = 0; i < pages; ++i) {
        vcpu.arch.pv.gdt_frames[i] = frames[i];
        *window_entry(vcpu, i) = Entry(frames[i], kWindowFlags);
    }
    vcpu.arch.pv.gdt_entries = entries;
    return {};
}

void drop_ldt(Vcpu& vcpu) {
    arch::PvVcpu& pv = vcpu.arch.pv;
    bool any = false;
    for (unsigned i = 0; i < paging::kLdtPages; ++i) {
        if (pv.ldt_frames[i] == kInvalidMfn) continue;
        *window_entry(vcpu, paging::kGdtPages + i) = Entry();
        put_descriptor_frame(pv.ldt_frames[i]);
        pv.ldt_frames[i] = kInvalidMfn;
        any = true;
    }
    if (any && &vcpu == &arch::current()) arch::flush_tlb_local();
}

Result<> set_ldt(Vcpu& vcpu, uint64_t linear, uint32_t entries) {
    if (entries > 8192 || (linear & ~kPageMask)) return Errno::kEINVAL;
    if (entries &&
        (!paging::is_guest_address(linear) || !paging::is_guest_address(linear + entries * 8 - 1)))
        return Errno::kEINVAL;
    arch::PvVcpu& pv = vcpu.arch.pv;
    if (pv.ldt_base == linear && pv.ldt_entries == entries) return {};
    drop_ldt(vcpu);
    pv.ldt_base = linear;
    pv.ldt_entries = entries;
    if (&vcpu == &arch::current()) load_ldt(vcpu);
    return {};
}

void load_ldt(Vcpu& vcpu) {
    cpu::load_ldt(arch::this_cpu(), paging::ldt_address(vcpu.id.raw()), vcpu.arch.pv.ldt_entries);
}

bool fault_in_ldt(uint64_t address) {
    Vcpu& vcpu = arch::current();
    arch::PvVcpu& pv = vcpu.arch.pv;
    const uint64_t window = paging::ldt_address(vcpu.id.raw());
    if (address < window || address >= window + paging::kLdtPages * kPageSize) return false;
    const auto page = static_cast<unsigned>((address - window) / kPageSize);
    if (page * kDescriptorsPerPage >= pv.ldt_entries || pv.ldt_frames[page] != kInvalidMfn)
        return false;
    const Entry* leaf = find_leaf(vcpu, pv.ldt_base + page * kPageSize);
    if (!leaf || !leaf->present()) return false;
    const Result<Mfn> frame = descriptor_frame(*vcpu.domain, leaf->mfn());
    if (!frame.ok()) return false;
    pv.ldt_frames[page] = *frame;
    *window_entry(vcpu, paging::kGdtPages + page) = Entry(*frame, kWindowFlags);
    return true;
}

}  // namespace hv::pv

namespace hv {

Outcome do_set_gdt(uint64_t list, uint64_t entries, uint64_t, uint64_t, uint64_t) {
    if (entries > FIRST_RESERVED_GDT_ENTRY) return Errno::kEINVAL;
    const GuestIn<uint64_t> frames(list);
    Mfn mfns[FIRST_RESERVED_GDT_PAGE];
    const uint64_t pages = (entries + 511) / 512;
    for (uint64_t i = 0; i < pages; ++i) {
        const Result<uint64_t> frame = frames.load(i);
        if (!frame.ok()) return frame.error();
        mfns[i] = Mfn{*frame};
    }
    const Result<> result = pv::set_gdt(arch::current(), mfns, static_cast<uint32_t>(entries));
    if (result.ok()) arch::flush_tlb_local();
    return result;
}

Outcome do_update_descriptor(uint64_t address, uint64_t descriptor, uint64_t, uint64_t, uint64_t) {
    if (address & 7) return Errno::kEINVAL;
    Domain& domain = *arch::current().domain;
    if (const Result<> good = pv::check_descriptor(descriptor); !good.ok()) return good;
    Result<PageRef> page = PageRef::take(mfn_of(address), domain.id);
    if (!page.ok()) return page.error();
    AloneGuard guard(domain.arch.paging_lock);
    PageInfo& info = *page->get();
    // In use as descriptor page, or an ordinary one; never a page table.
    const bool in_use = info.page_type() == PageType::kDescriptor && info.type_count();
    if (in_use) {
        const Result<> typed = pv::get_table_type(domain, info, PageType::kDescriptor);
        if (!typed.ok()) return typed;
    } else if (!info.get_writable_type()) {
        return Errno::kEINVAL;
    }
    __atomic_store_n(arch::machine_to_virt<uint64_t>(address), descriptor, __ATOMIC_RELAXED);
    info.put_simple_type();
    return Outcome(0);
}

}  // namespace hv
