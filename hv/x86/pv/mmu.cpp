#include "hv/x86/pv/mmu.hpp"

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "hv/sched/sched.hpp"
#include "hv/x86/cpu/cpu_info.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/paging/flush.hpp"
#include "hv/x86/paging/host.hpp"
#include "hv/x86/paging/m2p.hpp"
#include "hv/x86/pv/isolation.hpp"
#include "hv/x86/pv/leaf.hpp"
#include "hv/x86/pv/page_type.hpp"
#include "hv/x86/pv/pin.hpp"

namespace hv::pv {

using paging::Entry;

namespace {

Mfn loaded_table(const Vcpu& vcpu) {
    return vcpu.arch.pv.kernel_mode ? vcpu.arch.pv.kernel_table : vcpu.arch.pv.user_table;
}

}  // namespace

Entry* find_leaf(const Vcpu& vcpu, uint64_t linear) {
    if (!paging::is_guest_address(linear)) return nullptr;
    Mfn table = loaded_table(vcpu);
    if (table == kInvalidMfn) return nullptr;
#pragma GCC unroll 3
    for (unsigned level = 4; level > 1; --level) {
        const Entry e =
            read_entry(arch::mfn_to_virt<Entry>(table) + paging::index_of(linear, level));
        if ((e.raw() & (Entry::kPresent | Entry::kLarge)) != Entry::kPresent) return nullptr;
        // An entry that is not present is anything the guest likes. What it seems to lead to may be
        // read, but that must lead no further.
        if (level < 4) base::block_speculation();
        table = e.mfn();
    }
    return arch::mfn_to_virt<Entry>(table) + paging::index_of(linear, 1);
}

namespace {

/// The checked L1 table of the current domain that `linear` (an entry's own address) lies in.
Result<PageRef> leaf_table_at(uint64_t linear) {
    Vcpu& vcpu = arch::current();
    const Entry* mapping = find_leaf(vcpu, linear);
    if (!mapping) return Errno::kEINVAL;
    const Entry e = read_entry(mapping);
    if (!e.present()) return Errno::kEINVAL;
    PageRef page = TRY(PageRef::take(e.mfn(), vcpu.domain->id));
    const uint64_t word = page->type.load();
    if (page->page_type() != PageType::kL1 || !(word & PageInfo::kValidated) ||
        !(word & PageInfo::kTypeCountMask))
        return Errno::kEINVAL;
    return page;
}

}  // namespace

bool is_page_table_address(uint64_t linear) {
    return leaf_table_at(linear).ok();
}

Result<> write_pte_checked(uint64_t linear, uint64_t old_pte, uint64_t new_pte, bool compare,
                           bool& matched) {
    Vcpu& vcpu = arch::current();
    Domain& domain = *vcpu.domain;
    LeavesGuard guard(domain.arch.paging_lock, arch::lock_stripe());
    PageRef table = TRY(leaf_table_at(linear));
    auto* slot = arch::mfn_to_virt<Entry>(table.mfn()) + (linear & ~kPageMask) / sizeof(Entry);
    if (compare)
        return replace_leaf_if(domain, domain.id, slot, Entry(old_pte), Entry(new_pte), matched);
    matched = true;
    return replace_leaf(domain, domain.id, slot, Entry(new_pte), false);
}

void invalidate_page(uint64_t linear) {
    if (!paging::is_guest_address(linear)) return;
    asm volatile("invlpg (%0)" ::"r"(linear) : "memory");
}

void load_page_tables(Vcpu& vcpu) {
    const Mfn table = loaded_table(vcpu);
    const uint64_t cr3 =
        table == kInvalidMfn ? address_of(paging::host_l4_mfn()) : address_of(table);
    vcpu.arch.hv_cr3 = cr3;
    // Mappings of the guest's user mode are global: they go only with a whole flush.
    cpu::write_cr3(cr3);
    arch::flush_tlb_local();
    isolation::tables_changed(vcpu);
}

void toggle_mode(Vcpu& vcpu) {
    arch::PvVcpu& pv = vcpu.arch.pv;
    pv.kernel_mode = !pv.kernel_mode;
    asm volatile("swapgs");  // the other mode's base waits in KERNEL_GS_BASE
    const Mfn table = loaded_table(vcpu);
    vcpu.arch.hv_cr3 = address_of(table);
    // No flush of global entries: the user's survive the kernel's turn, and the kernel's are not
    // global, so they go with this write.
    cpu::write_cr3(address_of(table));
    isolation::tables_changed(vcpu);
    // What the scheduler could not write while the user's tables were loaded.
    if (pv.kernel_mode && vcpu.dirty_runstate.load(std::memory_order_relaxed))
        sched::update_guest_copies();
}

void set_kernel_table(Vcpu& vcpu, Mfn l4) {
    paging::show_m2p(l4);
    vcpu.arch.pv.kernel_table = l4;
}

void set_user_table(Vcpu& vcpu, Mfn l4) {
    constexpr uint64_t kStrict = uint64_t{1} << VMASST_TYPE_m2p_strict;
    const uint64_t assists = vcpu.domain->vm_assist.load(std::memory_order_relaxed);
    if (l4 != kInvalidMfn && (assists & kStrict)) paging::hide_m2p(l4);
    vcpu.arch.pv.user_table = l4;
}

namespace {

/// Puts a table in the place of the vCPU's kernel or user one, and gives that.
using Install = Mfn (*)(Vcpu& vcpu, Mfn l4);

Mfn install_kernel_table(Vcpu& vcpu, Mfn l4) {
    const Mfn old = vcpu.arch.pv.kernel_table;
    set_kernel_table(vcpu, l4);
    load_page_tables(vcpu);
    return old;
}

Mfn install_user_table(Vcpu& vcpu, Mfn l4) {
    const Mfn old = vcpu.arch.pv.user_table;
    set_user_table(vcpu, l4);
    return old;
}

/// What a kernel does when it changes between processes, whose tables it has pinned: the new one is
/// an L4 already, and the old one stays one, so that only counts change. False: it is not so, and
/// nothing was done. `left`: the old table, if its references are the last.
template <Install kInstall>
[[gnu::always_inline]] inline bool change_among_pinned(Vcpu& vcpu, Mfn wanted, Mfn& left) {
    LeavesGuard guard(vcpu.domain->arch.paging_lock, arch::lock_stripe());
    if (!get_table_again(*vcpu.domain, wanted, PageType::kL4)) return false;
    left = kInstall(vcpu, wanted);
    if (left != kInvalidMfn && put_table_unless_last(left)) left = kInvalidMfn;
    return true;
}

/// `wanted` may be kInvalidMfn for a user table: none.
template <Install kInstall>
[[gnu::noinline]] Result<> change_table(Vcpu& vcpu, Mfn wanted) {
    Domain& domain = *vcpu.domain;
    Mfn left = kInvalidMfn;
    const bool changed = change_among_pinned<kInstall>(vcpu, wanted, left);
    if (changed && left == kInvalidMfn) [[likely]]
        return {};
    AloneGuard guard(domain.arch.paging_lock);
    if (!changed) {
        if (wanted != kInvalidMfn)
            TRY(get_table_or_park(domain, wanted, PageType::kL4, Hold::kAloneInParts));
        left = kInstall(vcpu, wanted);
    }
    if (left != kInvalidMfn) drop_or_park(domain, left, Hold::kAloneInParts);
    return {};
}

}  // namespace

Result<> new_base_pointer(Mfn mfn) {
    Vcpu& vcpu = arch::current();
    if (vcpu.arch.pv.kernel_table != mfn) return change_table<install_kernel_table>(vcpu, mfn);
    // The same again: what the guest wants is the flush. (No lock: only its vCPU changes this.)
    load_page_tables(vcpu);
    return {};
}

Result<> new_user_base_pointer(Mfn mfn) {
    Vcpu& vcpu = arch::current();
    const Mfn wanted = mfn.raw() ? mfn : kInvalidMfn;
    if (vcpu.arch.pv.user_table == wanted) return {};
    return change_table<install_user_table>(vcpu, wanted);
}

}  // namespace hv::pv
