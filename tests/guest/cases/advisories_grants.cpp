// Public advisories (XSA) on grant tables.
#include <initializer_list>

#include "grants.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

TEST(xsa_134_swap_beyond, "XSA-134: swap_grant_ref with references that are none", "") {
    for (const unsigned ref : {0xffffffffu, 0x80000000u, 1u << 20}) {
        gnttab_swap_grant_ref_t op = {.ref_a = ref, .ref_b = 500};
        CHECK_EQ(grant_table_op(GNTTABOP_swap_grant_ref, &op, 1), 0);
        CHECK_EQ(op.status, GNTST_bad_gntref);
        op = {.ref_a = 500, .ref_b = ref};
        CHECK_EQ(grant_table_op(GNTTABOP_swap_grant_ref, &op, 1), 0);
        CHECK_EQ(op.status, GNTST_bad_gntref);
    }
}

TEST(xsa_379_382_status_frames, "XSA-255, 379, 382: status frames, their bounds and their end",
     "own-boot") {
    gnttab_set_version_t version = {.version = 2};
    CHECK_EQ(grant_table_op(GNTTABOP_set_version, &version, 1), 0);
    static uint64_t frames[64];
    gnttab_get_status_frames_t status = {.nr_frames = 64, .dom = DOMID_SELF};
    set_xen_guest_handle(status.frame_list, frames);
    CHECK_EQ(grant_table_op(GNTTABOP_get_status_frames, &status, 1), 0);
    CHECK(status.status < 0);
    CHECK_EQ(frames[1], 0);
    status.nr_frames = 1;
    CHECK_EQ(grant_table_op(GNTTABOP_get_status_frames, &status, 1), 0);
    CHECK_EQ(status.status, GNTST_okay);
    const Window window = open_window();
    CHECK_EQ(window.map(0, pte(frames[0], kDataFlags)), 0);
    // Not while we can write to them; afterwards they are not ours any more.
    version.version = 1;
    CHECK_EQ(grant_table_op(GNTTABOP_set_version, &version, 1), -kEBUSY);
    CHECK_EQ(window.map(0, 0), 0);
    version.version = 1;
    CHECK_EQ(grant_table_op(GNTTABOP_set_version, &version, 1), 0);
    CHECK(window.map(0, pte(frames[0], kDataFlags)) < 0);
}

TEST(xsa_227_misaligned_entry, "XSA-227: a grant mapped into an entry that is none", "") {
    Child child;
    const Window window = open_window();
    auto* entries = grants_of(child, window, 0);
    allow(entries[9], child.mfn(Child::kFirstFree), 0);
    const uint64_t entry = machine_address(&window.l1[3]);
    // Between entries, in tables of other levels, in no table, beyond memory.
    for (const uint64_t place :
         {entry + 1, entry + 4, machine_address(&window.l2[9]), machine_address(&window.l3[9]),
          machine_address(alloc_page()), 0xffffffffful << 12}) {
        gnttab_map_grant_ref_t op = {.host_addr = place,
                                     .flags = GNTMAP_host_map | GNTMAP_contains_pte,
                                     .ref = 9,
                                     .dom = child.id()};
        CHECK_EQ(grant_table_op(GNTTABOP_map_grant_ref, &op, 1), 0);
        CHECK(op.status < 0);
    }
    // XSA-316: what failed holds nothing.
    CHECK_EQ(entries[9].flags, GTF_permit_access);
    CHECK_EQ(window.l1[3] | window.l1[4], 0);
    CHECK_EQ(window.map(0, 0), 0);
    child.destroy();
}

TEST(xsa_232_cache_flush, "XSA-232: GNTTABOP_cache_flush of frames without owner, and of others'",
     "") {
    Child child;
    for (const uint64_t mfn : {0ul, 0xfee00ul, 0xfffffffful, mfn_of(alloc_page())}) {
        auto* op = child.scratch_as<gnttab_cache_flush_t>();
        *op = {};
        op->a.dev_bus_addr = mfn << 12;
        op->length = 64;
        op->op = GNTTAB_CACHE_CLEAN;
        CHECK(child.call(__HYPERVISOR_grant_table_op, GNTTABOP_cache_flush, Child::scratch(0), 1) <
              0);
        op->a.dev_bus_addr = child.mfn(9) << 12;
        op->offset = 4090;
        CHECK(child.call(__HYPERVISOR_grant_table_op, GNTTABOP_cache_flush, Child::scratch(0), 1) <
              0);
    }
    child.destroy();
}

}  // namespace guest
