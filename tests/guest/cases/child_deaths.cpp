// Domains that end themselves, or are ended, at bad moments: alone, and free memory to the page.
#include <initializer_list>

#include "child.hpp"
#include "platform.hpp"
#include "test.hpp"

namespace guest {

namespace {

bool has_crashed(const Child& child) {
    return wait_for([&] { return (child.info().flags & XEN_DOMINF_shutdown) != 0; }) &&
           (child.info().flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask) ==
               SHUTDOWN_crash;
}

/// Gives a domain memory and page tables up to `steps` of the way, and destroys it there.
void build_and_destroy(unsigned steps) {
    const domid_t id = create_domain();
    if (steps > 0) {
        xen_domctl_t vcpus = domctl_of(XEN_DOMCTL_max_vcpus, id);
        vcpus.u.max_vcpus.max = 1;
        CHECK_EQ(domctl(&vcpus), 0);
    }
    static xen_pfn_t frames[8];
    if (steps > 1) {
        set_max_memory(id, 8);
        for (unsigned i = 0; i < 8; ++i) frames[i] = i;
        xen_memory_reservation_t r = {.nr_extents = 8, .domid = id};
        set_xen_guest_handle(r.extent_start, frames);
        CHECK_EQ(memory_op(XENMEM_populate_physmap, &r), 8);
    }
    if (steps > 2) {
        mmuext_op_t op = {};
        op.cmd = MMUEXT_PIN_L4_TABLE;
        op.arg1.mfn = frames[0];  // fresh memory: an empty table
        if (steps > 3) op.cmd = MMUEXT_PIN_L1_TABLE;
        mmuext_op(&op, 1, nullptr, id);
    }
    destroy_domain(id);
}

}  // namespace

TEST(child_unmaps_its_code, "a domain that takes its own code's mapping away", "") {
    const uint64_t before = settled_free_pages();
    Child child;
    child.order(__HYPERVISOR_update_va_mapping, Child::va(4), 0, UVMF_TLB_FLUSH | UVMF_ALL);
    CHECK(has_crashed(child));
    child.destroy();
    expect_free_pages(before);
}

TEST(child_clears_its_tables, "a domain that unpins its page tables and clears them from the top",
     "") {
    const uint64_t before = settled_free_pages();
    Child child;
    auto* op = child.scratch_as<mmuext_op_t>();
    *op = {};
    op->cmd = MMUEXT_UNPIN_TABLE;
    op->arg1.mfn = child.mfn(0);
    CHECK_EQ(child.call(__HYPERVISOR_mmuext_op, Child::scratch(0), 1, 0, DOMID_SELF), 0);
    auto* updates = child.scratch_as<mmu_update_t>();
    updates[0] = {child.mfn(0) << 12 | 511 * 8, 0};
    updates[1] = updates[0];
    child.order(__HYPERVISOR_mmu_update, Child::scratch(0), 2, 0, DOMID_SELF);
    // The second request can no longer be read; then neither can the next instruction.
    CHECK(has_crashed(child));
    child.destroy();
    expect_free_pages(before);
}

TEST(child_bad_iret, "a domain whose iret leads nowhere, or lies where no memory is", "") {
    const uint64_t before = settled_free_pages();
    for (const bool unmapped : {false, true}) {
        Child child;
        // Its stack begins at page 7, all zeros: selectors of 0.
        if (unmapped)
            CHECK_EQ(child.call(__HYPERVISOR_update_va_mapping, Child::va(7), 0, UVMF_INVLPG), 0);
        child.order(__HYPERVISOR_iret);
        CHECK(has_crashed(child));
        child.destroy();
    }
    expect_free_pages(before);
}

TEST(child_loses_its_stack, "a domain with handlers whose kernel stack is not mapped", "") {
    const uint64_t before = settled_free_pages();
    Child child;
    auto* table = child.scratch_as<trap_info_t>();
    table[0] = {.vector = 14, .flags = 0, .cs = FLAT_KERNEL_CS, .address = Child::va(4)};
    table[1] = {};
    CHECK_EQ(child.call(__HYPERVISOR_set_trap_table, Child::scratch(0)), 0);
    CHECK_EQ(child.call(__HYPERVISOR_update_va_mapping, Child::va(6), 0, UVMF_INVLPG), 0);
    child.order(kRead, 0x1000);
    CHECK(has_crashed(child));
    child.destroy();
    expect_free_pages(before);
}

TEST(child_half_built, "a domain destroyed after each step of its creation", "") {
    for (unsigned steps = 0; steps < 5; ++steps) {
        build_and_destroy(steps);  // what Domain 0's first one costs stays with it
        const uint64_t before = settled_free_pages();
        build_and_destroy(steps);
        expect_free_pages(before);
    }
}

TEST(child_crash_is_its_own, "a domain that crashes while another runs: that one runs on", "") {
    Child bystander;
    {
        Child child;
        child.order(kInvalid);
        CHECK(has_crashed(child));
        child.destroy();
    }
    const uint64_t turns = bystander.mailbox().turns;
    CHECK(wait_for([&] { return bystander.mailbox().turns > turns; }));
    CHECK_EQ(bystander.call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
    bystander.destroy();
}

}  // namespace guest
