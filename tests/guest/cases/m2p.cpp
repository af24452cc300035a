// The machine-to-physical table: where it is, its frames, and who may map them.
#include <initializer_list>

#include "child.hpp"
#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"
#include "user.hpp"

namespace guest {

namespace {

xen_machphys_mfn_list_t list_of(xen_pfn_t* frames, unsigned count) {
    xen_machphys_mfn_list_t list = {.max_extents = count};
    set_xen_guest_handle(list.extent_start, frames);
    return list;
}

/// The frame that shows machine frames 0 to 511.
uint64_t first_frame() {
    xen_pfn_t frames[1] = {};
    auto list = list_of(frames, 1);
    CHECK_EQ(memory_op(XENMEM_machphys_mfn_list, &list), 0);
    CHECK_EQ(list.nr_extents, 1);
    return frames[0];
}

}  // namespace

TEST(memory_machphys, "XENMEM machphys_mapping and machphys_mfn_list", "") {
    xen_machphys_mapping_t mapping = {};
    CHECK_EQ(memory_op(XENMEM_machphys_mapping, &mapping), 0);
    CHECK_EQ(mapping.v_start, MACH2PHYS_VIRT_START);
    CHECK_EQ(mapping.v_end, MACH2PHYS_VIRT_END);
    const long end = memory_op(XENMEM_maximum_ram_page, nullptr);
    CHECK(static_cast<long>(mapping.max_mfn) + 1 >= end);
    xen_pfn_t frames[8] = {};
    auto list = list_of(frames, 8);
    CHECK_EQ(memory_op(XENMEM_machphys_mfn_list, &list), 0);
    // A frame for each 2 MiB of the table, which show 1 GiB of the machine.
    CHECK_EQ(list.nr_extents, (end + (1 << 18) - 1) >> 18);
    for (unsigned i = 0; i < list.nr_extents; ++i) CHECK(frames[i]);
    CHECK_EQ(frames[list.nr_extents], 0);
}

TEST(memory_machphys_refuses, "XENMEM machphys_mfn_list: lists that are short, or not there", "") {
    xen_pfn_t frames[1] = {};
    auto list = list_of(frames, 0);
    CHECK_EQ(memory_op(XENMEM_machphys_mfn_list, &list), 0);
    CHECK_EQ(list.nr_extents, 0);
    CHECK_EQ(frames[0], 0);
    list = list_of(reinterpret_cast<xen_pfn_t*>(0x1000), 1);
    CHECK_EQ(memory_op(XENMEM_machphys_mfn_list, &list), -kEFAULT);
    CHECK_EQ(hypercall(__HYPERVISOR_memory_op, XENMEM_machphys_mfn_list, 0x1000), -kEFAULT);
    // Of 32-bit guests: there are none.
    list = list_of(frames, 1);
    CHECK_EQ(memory_op(XENMEM_machphys_compat_mfn_list, &list), -kEOPNOTSUPP);
}

TEST(mmu_update_refuses_hypervisor_frame, "validation: the hypervisor's own frames", "") {
    const Window window = open_window();
    const uint64_t frame = first_frame();
    CHECK_EQ(window.map(0, pte(frame, kDataFlags)), -kEBUSY);
    CHECK_EQ(window.map(0, pte(frame, kReadOnlyFlags)), -kEBUSY);
    CHECK_EQ(window.l1[0], 0);
}

TEST(mmu_update_maps_foreign_m2p, "mmu_update with DOMID_XEN: the M2P read-only, never writable",
     "") {
    const Window window = open_window();
    mmu_update_t update = {machine_address(&window.l1[0]), pte(first_frame(), kReadOnlyFlags)};
    CHECK_EQ(mmu_update(&update, 1, nullptr, DOMID_XEN), 0);
    for (unsigned i = 0; i < 512; ++i) CHECK_EQ(window.at(0)[i], m2p(i));
    update.val = pte(first_frame(), kDataFlags);
    CHECK_EQ(mmu_update(&update, 1, nullptr, DOMID_XEN), -kEBUSY);
    // Nor is one of the guest's own frames the hypervisor's.
    update.val = pte(mfn_of(alloc_page()), kReadOnlyFlags);
    CHECK_EQ(mmu_update(&update, 1, nullptr, DOMID_XEN), -kEBUSY);
    CHECK_EQ(window.map(0, 0), 0);
}

TEST(va_mapping_maps_m2p, "update_va_mapping_otherdomain with DOMID_XEN", "") {
    const Window window = open_window();
    CHECK_EQ(hypercall(__HYPERVISOR_update_va_mapping_otherdomain, window.va(0),
                       pte(first_frame(), kReadOnlyFlags), UVMF_INVLPG, DOMID_XEN),
             0);
    CHECK_EQ(*window.at(0), m2p(0));
    CHECK_EQ(window.map(0, 0), 0);
}

TEST(m2p_read_only, "the table in the guest's own address space: writing faults", "") {
    const uint64_t mfn = mfn_of(alloc_page());
    const uint64_t pfn = m2p(mfn);
    auto* entry = const_cast<volatile uint64_t*>(&machine_to_phys_mapping[mfn]);
    CHECK(catch_trap([&] { *entry = 1; }).is(kPageFault));
    CHECK_EQ(m2p(mfn), pfn);
}

TEST(m2p_holes, "the table where the machine has no RAM: reads as nobody's",
     "differs=Xen maps nothing there, and each look-up of a device's frame costs a fault") {
    constexpr uint64_t kMmcfg = 0xb0000, kApic = 0xfee00;
    for (const uint64_t mfn : {kMmcfg, kApic, uint64_t{1} << 30, (uint64_t{1} << 35) - 1})
        CHECK_EQ(m2p(mfn), ~uint64_t{0});
    auto* entry = const_cast<volatile uint64_t*>(&machine_to_phys_mapping[kMmcfg]);
    CHECK(catch_trap([&] { *entry = 1; }).is(kPageFault));
}

USER_CODE(m2p_user_read, "mov (%rdi), %rax\nsyscall");

TEST(vm_assist_m2p_strict, "VMASST_TYPE_m2p_strict: a kernel's table shows the M2P to no user mode",
     "differs-isolated=under isolation stock Xen shows user mode the M2P") {
    // A table for both modes: the kernel's slots, and the user's lowest.
    use_user_space();
    auto* both = alloc_page_as<uint64_t>();
    for (unsigned slot = 0; slot < 512; ++slot)
        if (slot < 256 || slot >= 272) both[slot] = boot_l4()[slot];
    both[0] = user_l4()[0];
    make_read_only(both);
    CHECK_EQ(pin(both, 4), 0);
    CHECK_EQ(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(both)), 0);
    CHECK_EQ(m2p(mfn_of(both)), pfn_of(both));
    CHECK_EQ(mmuext(MMUEXT_NEW_BASEPTR, mfn_of(boot_l4())), 0);

    TrapFrame frame = user_frame(m2p_user_read);
    frame.rdi = MACH2PHYS_VIRT_START;
    CHECK_EQ(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(both)), 0);
    CHECK(enter(frame).is(kSyscall));
    CHECK_EQ(mmuext(MMUEXT_NEW_USER_BASEPTR, 0), 0);

    CHECK_EQ(vm_assist(VMASST_CMD_enable, VMASST_TYPE_m2p_strict), 0);
    CHECK_EQ(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn_of(both)), 0);
    CHECK_EQ(mmuext(MMUEXT_TLB_FLUSH_LOCAL), 0);
    const Trap trap = enter(frame);
    CHECK_EQ(vm_assist(VMASST_CMD_disable, VMASST_TYPE_m2p_strict), 0);
    CHECK(trap.is(kPageFault));
    CHECK_EQ(trap.cr2, MACH2PHYS_VIRT_START);
    CHECK_EQ(m2p(mfn_of(both)), pfn_of(both));

    CHECK_EQ(mmuext(MMUEXT_NEW_USER_BASEPTR, 0), 0);
    CHECK_EQ(unpin(both), 0);
}

TEST(policy_m2p, "an unprivileged domain knows the table's frames, and may not map them", "") {
    Child child;
    auto* list = child.scratch_as<xen_machphys_mfn_list_t>();
    *list = list_of(reinterpret_cast<xen_pfn_t*>(Child::scratch(16)), 1);
    CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_machphys_mfn_list, Child::scratch(0)), 0);
    CHECK_EQ(*child.scratch_as<xen_pfn_t>(16), first_frame());
    auto* update = child.scratch_as<mmu_update_t>();
    *update = {child.mfn(3) << 12 | 8 * Child::kFirstFree, pte(first_frame(), kReadOnlyFlags)};
    CHECK_EQ(child.call(__HYPERVISOR_mmu_update, Child::scratch(0), 1, 0, DOMID_XEN), -kEPERM);
    child.destroy();
}

}  // namespace guest
