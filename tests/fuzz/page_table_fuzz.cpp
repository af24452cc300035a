// A guest against the rules of direct paging: what it writes into its frames, which it makes page
// tables, loads, pins, maps, describes segments with, gives back; all of it interrupted anywhere.
//
// After each step every reference is counted anew from what the tables, vCPUs and pins hold, and
// must be what the frames' structs say: so no frame is ever a table and writable, nothing is
// freed that is still mapped, and nothing is held for ever. In the end all memory is back.
#include "fake/whole_machine.hpp"

#include <xen/memory.h>
#include <xen/vcpu.h>

#include "hv/x86/paging/host.hpp"
#include "hv/x86/pv/page_type.hpp"
#include "input.hpp"

namespace {

using namespace hv;
using fuzz::Input;
using paging::Entry;

constexpr unsigned kFrames = 20, kVcpus = 2, kMaxSteps = 200;

WholeMachine& all() {
    static WholeMachine m(24 * kMiB);
    return m;
}

class Guest {
  public:
    explicit Guest(Input& in) : in_(in) {
        DomainConfig config;
        config.max_vcpus = kVcpus;
        domain_ = Domain::create(DomId{1}, config).value();
        domain_->pages.lock()->max = 2 * kFrames;
        for (unsigned n = 0; n < kVcpus; ++n) FUZZ_CHECK(domain_->add_vcpu(VcpuId{n}).ok());
        for (unsigned n = 0; n < kFrames; ++n)
            frames_.push_back(*memory::alloc_domain_frames(*domain_, 0));
        frames_.push_back(domain_->shared_mfn);
        all().current = domain_->vcpus[0];
    }
    ~Guest() { all().destroy(static_cast<DomainRef&&>(domain_)); }
    void step();
    void check();

  private:
    Mfn frame() { return frames_[in_.below(static_cast<uint32_t>(frames_.size()))]; }
    /// Few of them, so that they are met again; hypervisor slots and both ends among them.
    unsigned index() {
        constexpr uint16_t kIndices[] = {0, 1, 2, 3, 255, 256, 260, 271, 272, 510, 511};
        return in_.one_of(kIndices);
    }
    uint64_t entry() {
        constexpr uint64_t kFlags[] = {0x67, 0x65, 0x27, 0x25, 0x7, 0x5, 0, 0xe7, 0x167, 0x77};
        const uint64_t flags = in_.one_of(kFlags);
        return (in_.byte() & 15) ? address_of(frame()) | flags : in_.take<uint64_t>();
    }
    uint64_t address() {
        const uint64_t page = address_of(frame());
        return page + index() * 8;
    }
    /// By way of those same indices.
    uint64_t linear() {
        uint64_t linear = 0;
        for (unsigned level = 4; level; --level) linear = linear << 9 | index();
        linear <<= kPageShift;
        return linear >> 47 & 1 ? linear | 0xffff000000000000 : linear;
    }
    void call(uint64_t number, std::initializer_list<uint64_t> args);
    void extended(uint32_t command, uint64_t arg1, uint64_t arg2 = 0);
    void store();
    void reserve(bool more);

    Input& in_;
    DomainRef domain_;
    std::vector<Mfn> frames_;  ///< also those that it has had
    bool give_up_ = false;     ///< does not go on with a call that was interrupted
};

void Guest::call(uint64_t number, std::initializer_list<uint64_t> args) {
    WholeMachine::Call c{number, {}};
    std::copy(args.begin(), args.end(), c.args);
    if (!give_up_) {
        (void)all().call(c);
        return;
    }
    int64_t result;
    (void)all().call_once(c, result);
    all().settle();
}

void Guest::extended(uint32_t command, uint64_t arg1, uint64_t arg2) {
    mmuext_op op{};
    op.cmd = command;
    op.arg1.mfn = arg1;
    op.arg2.src_mfn = arg2;
    call(__HYPERVISOR_mmuext_op, {all().put(op), 1, 0, DOMID_SELF});
}

/// As through a mapping that may write, which there can be only while the frame is no table.
void Guest::store() {
    const Mfn mfn = frame();
    PageInfo& page = *page_info(mfn);
    const uint64_t value = entry();
    const unsigned at = index();
    if (!page.owned_by(domain_->id) || page.has(PageInfo::kHypervisor)) return;
    const bool free = page.type_count() == 0 || page.page_type() == PageType::kWritable;
    if (free) arch::mfn_to_virt<uint64_t>(mfn)[at] = value;
}

void Guest::reserve(bool more) {
    const uint64_t pfn = more ? in_.byte() : frame().raw();
    all().put(pfn, 256);
    xen_memory_reservation_t r{};
    r.extent_start.p = reinterpret_cast<xen_pfn_t*>(WholeMachine::linear(256));
    r.nr_extents = 1;
    r.domid = DOMID_SELF;
    call(__HYPERVISOR_memory_op,
         {more ? uint64_t{XENMEM_populate_physmap} : XENMEM_decrease_reservation, all().put(r)});
    if (more && all().at<uint64_t>(256) != pfn) frames_.push_back(Mfn{all().at<uint64_t>(256)});
}

void Guest::step() {
    const uint8_t what = in_.byte();
    give_up_ = what & 0x80;
    switch (what % 19) {
        case 0:
        case 1:
        case 2:
            return store();
        case 3:
        case 4:
        case 5: {
            const uint64_t command = in_.byte() % 4;
            const uint64_t at = address();
            all().put(mmu_update{at | command, entry()});
            return call(__HYPERVISOR_mmu_update, {WholeMachine::linear(), 1, 0, DOMID_SELF});
        }
        case 6:
        case 7: {
            const uint32_t level = in_.byte() % 4;
            const uint64_t mfn = frame().raw();
            return extended(MMUEXT_PIN_L1_TABLE + level, mfn);
        }
        case 8:
            return extended(MMUEXT_UNPIN_TABLE, frame().raw());
        case 9:
            return extended(MMUEXT_NEW_BASEPTR, frame().raw());
        case 10:
            return extended(MMUEXT_NEW_USER_BASEPTR, in_.byte() & 1 ? frame().raw() : 0);
        case 11: {
            const uint64_t at = linear();
            return call(__HYPERVISOR_update_va_mapping, {at, entry(), 0});
        }
        case 12: {
            const uint64_t at = address();
            return call(__HYPERVISOR_update_descriptor, {at, in_.take<uint64_t>()});
        }
        case 13: {
            const uint64_t pages = in_.byte() % 3;
            for (unsigned i = 0; i < 3; ++i) all().put(frame().raw(), i * 8);
            return call(__HYPERVISOR_set_gdt, {WholeMachine::linear(), pages * 512});
        }
        case 14: {
            const uint64_t to = frame().raw(), from = frame().raw();
            return extended(in_.byte() & 1 ? MMUEXT_CLEAR_PAGE : MMUEXT_COPY_PAGE, to, from);
        }
        case 15:
            return reserve(in_.byte() & 1);
        case 16:
            all().current = domain_->vcpus[in_.byte() % kVcpus];
            return;
        case 17:
            all().preempt_after = in_.byte() % 64;
            return;
        default: {
            bool matched;
            const uint64_t at = linear();
            const uint64_t offset = index() * 8;
            (void)pv::write_pte_checked(at | offset, 0, entry(), false, matched);
            return;
        }
    }
}

// ---- counting anew --------------------------------------------------------------------------

struct Count {
    uint64_t refs = 0;
    uint64_t types = 0;
    PageType type = PageType::kNone;
};
using Counts = std::map<uint64_t, Count>;

void expect(Counts& counts, Mfn mfn, PageType type) {
    Count& c = counts[mfn.raw()];
    ++c.refs;
    if (type == PageType::kNone) return;
    FUZZ_CHECK(c.types == 0 || c.type == type);
    ++c.types;
    c.type = type;
}

bool is_guest_slot(unsigned level, unsigned index) {
    return level < 4 || !paging::is_hypervisor_slot(index);
}

/// What the first `count` entries of a table hold.
void count_entries(Counts& counts, Mfn mfn, unsigned level, unsigned count) {
    const Entry* table = arch::mfn_to_virt<Entry>(mfn);
    for (unsigned i = 0; i < count; ++i) {
        const Entry e = table[i];
        if (!e.present() || !is_guest_slot(level, i)) continue;
        if (level > 1)
            expect(counts, e.mfn(), static_cast<PageType>(level - 1));
        else
            expect(counts, e.mfn(), e.writable() ? PageType::kWritable : PageType::kNone);
    }
}

void check_hypervisor_slots(const Domain& domain, Mfn mfn) {
    const Entry* table = arch::mfn_to_virt<Entry>(mfn);
    for (size_t i = 0; i < paging::kEntries; ++i) {
        if (!paging::is_hypervisor_slot(i) || i == paging::kSlotM2p) continue;
        if (i == paging::kSlotPerDomain)
            FUZZ_CHECK(table[i].mfn() == domain.arch.perdomain_l3);
        else if (i == paging::kSlotStamp)
            FUZZ_CHECK(table[i].raw() && !table[i].present());
        else
            FUZZ_CHECK(table[i].raw() == paging::host_l4()[i].raw());
    }
}

void count_frame(Counts& counts, const Domain& domain, Mfn mfn) {
    const PageInfo& page = *page_info(mfn);
    if (page.has(PageInfo::kAllocated)) expect(counts, mfn, PageType::kNone);
    if (page.has(PageInfo::kHypervisor)) expect(counts, mfn, PageType::kWritable);
    const uint64_t word = page.type.load();
    const PageType type = page.page_type();
    if (!page.type_count()) return;
    if (word & PageInfo::kPinned) expect(counts, mfn, type);
    if (type < PageType::kL1 || type > PageType::kL4) return;
    const auto level = static_cast<unsigned>(type);
    if (word & PageInfo::kPartial) {
        if (!(word & PageInfo::kDropping)) expect(counts, mfn, type);  // waits to be gone on with
        count_entries(counts, mfn, level, static_cast<unsigned>(word >> PageInfo::kAuxShift));
        return;
    }
    FUZZ_CHECK(word & PageInfo::kValidated);
    count_entries(counts, mfn, level, paging::kEntries);
    if (level == 4) check_hypervisor_slots(domain, mfn);
}

void count_vcpu(Counts& counts, const Vcpu& vcpu) {
    const arch::PvVcpu& pv = vcpu.arch.pv;
    for (const Mfn table : {pv.kernel_table, pv.user_table})
        if (table != kInvalidMfn) expect(counts, table, PageType::kL4);
    if (pv.parked_table != kInvalidMfn)
        expect(counts, pv.parked_table, page_info(pv.parked_table)->page_type());
    for (const auto* frames : {&pv.gdt_frames, &pv.ldt_frames})
        for (const Mfn mfn : *frames)
            if (mfn != kInvalidMfn) expect(counts, mfn, PageType::kDescriptor);
}

/// No two L4 tables have the same (hv/x86/pv/isolation.hpp).
void check_stamps(const std::set<uint64_t>& frames) {
    std::set<uint64_t> stamps;
    for (const uint64_t mfn : frames) {
        const PageInfo& page = *page_info(Mfn{mfn});
        if (page.page_type() != PageType::kL4 || !(page.type.load() & PageInfo::kValidated))
            continue;
        const Entry stamp = arch::mfn_to_virt<Entry>(Mfn{mfn})[paging::kSlotStamp];
        FUZZ_CHECK(stamps.insert(stamp.raw()).second);
    }
}

void Guest::check() {
    Counts counts;
    std::set<uint64_t> owned;
    for (const Mfn mfn : frames_)
        if (page_info(mfn)->owned_by(domain_->id)) owned.insert(mfn.raw());
    for (const uint64_t mfn : owned) count_frame(counts, *domain_, Mfn{mfn});
    for (unsigned n = 0; n < kVcpus; ++n) count_vcpu(counts, *domain_->vcpus[n]);
    for (const auto& [mfn, count] : counts) FUZZ_CHECK(owned.contains(mfn));
    for (const uint64_t mfn : owned) {
        const PageInfo& page = *page_info(Mfn{mfn});
        const Count& count = counts[mfn];
        FUZZ_CHECK(page.ref_count() == count.refs);
        FUZZ_CHECK(page.type_count() == count.types);
        FUZZ_CHECK(count.types == 0 || page.page_type() == count.type);
    }
    check_stamps(owned);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    WholeMachine& m = all();
    Input in(data, size);
    m.preempt_after = 0;
    const uint64_t free = memory::free_pages();
    const size_t objects = m.heap_objects;
    {
        Guest guest(in);
        guest.check();
        for (unsigned n = 0; n < kMaxSteps && !in.done(); ++n) {
            guest.step();
            guest.check();
        }
    }
    FUZZ_CHECK(memory::free_pages() == free && m.heap_objects == objects);
    return 0;
}
