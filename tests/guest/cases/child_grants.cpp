// Grants between two domains: Domain 0 maps, copies and gives; the other one sees, or is gone.
#include "grants.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

TEST(child_grant_map, "a grant of another domain: mapped, written, read there, unmapped", "") {
    Child child;
    const Window window = open_window();
    auto* entries = grants_of(child, window, 0);
    const unsigned page = Child::kFirstFree;
    allow(entries[9], child.mfn(page), 0);
    gnttab_map_grant_ref_t op = {
        .host_addr = window.va(1), .flags = GNTMAP_host_map, .ref = 9, .dom = child.id()};
    CHECK_EQ(grant_table_op(GNTTABOP_map_grant_ref, &op, 1), 0);
    CHECK_EQ(op.status, GNTST_okay);
    *window.at(1) = 0x600d;
    CHECK_EQ(child.call(kRead, Child::va(page)), 0x600d);
    child.call(kWriteWord, Child::va(page), 0x7777);
    CHECK_EQ(*window.at(1), 0x7777);
    gnttab_unmap_grant_ref_t undo = {.host_addr = window.va(1), .handle = op.handle};
    CHECK_EQ(grant_table_op(GNTTABOP_unmap_grant_ref, &undo, 1), 0);
    CHECK_EQ(undo.status, GNTST_okay);
    CHECK_EQ(entries[9].flags, GTF_permit_access);
    CHECK_EQ(window.map(0, 0), 0);
    child.destroy();
}

namespace {
/// Maps a child's grant, destroys the child, and only then unmaps.
void outlive_grant() {
    Child child;
    const Window window = open_window();
    auto* entries = grants_of(child, window, 0);
    allow(entries[9], child.mfn(Child::kFirstFree), 0);
    gnttab_map_grant_ref_t op = {
        .host_addr = window.va(1), .flags = GNTMAP_host_map, .ref = 9, .dom = child.id()};
    CHECK_EQ(grant_table_op(GNTTABOP_map_grant_ref, &op, 1), 0);
    CHECK_EQ(op.status, GNTST_okay);
    *window.at(1) = 0xabcd;
    CHECK_EQ(window.map(0, 0), 0);
    child.forget();
    xen_domctl_t kill = domctl_of(XEN_DOMCTL_destroydomain, child.id());
    while (domctl(&kill) == -kEAGAIN) {
    }
    settled_free_pages();
    CHECK_EQ(*window.at(1), 0xabcd);
    xen_domctl_t info = domctl_of(XEN_DOMCTL_getdomaininfo, child.id());
    CHECK_EQ(domctl(&info), 0);
    CHECK(info.u.getdomaininfo.flags & XEN_DOMINF_dying);
    gnttab_unmap_grant_ref_t undo = {.host_addr = window.va(1), .handle = op.handle};
    CHECK_EQ(grant_table_op(GNTTABOP_unmap_grant_ref, &undo, 1), 0);
    CHECK_EQ(undo.status, GNTST_okay);
    CHECK(wait_for([&] { return domctl(&info) != 0 || info.domain != child.id(); }));
}
}  // namespace

TEST(child_dies_granted, "a domain destroyed while its grant is mapped: the page outlives it", "") {
    outlive_grant();  // what Domain 0's first mapping costs stays with it
    const uint64_t before = settled_free_pages();
    outlive_grant();
    expect_free_pages(before);
}

TEST(child_grant_copy, "GNTTABOP_copy from another domain's grant, and into it", "") {
    Child child;
    const Window window = open_window();
    auto* entries = grants_of(child, window, 0);
    const unsigned page = Child::kFirstFree;
    allow(entries[10], child.mfn(page), 0);
    allow(entries[11], child.mfn(page + 1), 0, GTF_readonly);
    child.call(kWriteWord, Child::va(page + 1) + 16, 0x1717);
    auto* local = alloc_page_as<uint64_t>();
    gnttab_copy_t ops[3] = {};
    ops[0].source = {.u = {.ref = 11}, .domid = child.id(), .offset = 16};
    ops[0].dest = {.u = {.gmfn = mfn_of(local)}, .domid = DOMID_SELF, .offset = 8};
    ops[0].len = 8;
    ops[0].flags = GNTCOPY_source_gref;
    ops[1].source = {.u = {.gmfn = mfn_of(local)}, .domid = DOMID_SELF, .offset = 8};
    ops[1].dest = {.u = {.ref = 10}, .domid = child.id(), .offset = 40};
    ops[1].len = 8;
    ops[1].flags = GNTCOPY_dest_gref;
    ops[2] = ops[1];
    ops[2].dest.u.ref = 11;  // read-only
    CHECK_EQ(grant_table_op(GNTTABOP_copy, ops, 3), 0);
    CHECK_EQ(ops[0].status, GNTST_okay);
    CHECK_EQ(ops[1].status, GNTST_okay);
    CHECK_EQ(ops[2].status, GNTST_general_error);
    CHECK_EQ(local[1], 0x1717);
    CHECK_EQ(child.call(kRead, Child::va(page) + 40), 0x1717);
    CHECK_EQ(entries[10].flags, GTF_permit_access);
    // Without a grant, the other domain's frame is out of reach even for a copy.
    ops[0].source = {.u = {.gmfn = child.mfn(page)}, .domid = child.id(), .offset = 0};
    ops[0].flags = 0;
    CHECK_EQ(grant_table_op(GNTTABOP_copy, ops, 1), 0);
    CHECK_EQ(ops[0].status, GNTST_permission_denied);
    CHECK_EQ(window.map(0, 0), 0);
    child.destroy();
}

TEST(child_grant_wrong_domain, "a grant made to a third domain is not Domain 0's to map", "") {
    Child child;
    const Window window = open_window();
    auto* entries = grants_of(child, window, 0);
    allow(entries[9], child.mfn(Child::kFirstFree), 0);
    entries[9].domid = 7;
    gnttab_map_grant_ref_t op = {
        .host_addr = window.va(1), .flags = GNTMAP_host_map, .ref = 9, .dom = child.id()};
    CHECK_EQ(grant_table_op(GNTTABOP_map_grant_ref, &op, 1), 0);
    CHECK_EQ(op.status, GNTST_general_error);
    // Nor does a grant of a frame that the granting domain does not own get anywhere.
    auto* local = alloc_page_as<uint64_t>();
    allow(entries[12], mfn_of(local), 0);
    op = {.host_addr = window.va(1), .flags = GNTMAP_host_map, .ref = 12, .dom = child.id()};
    CHECK_EQ(grant_table_op(GNTTABOP_map_grant_ref, &op, 1), 0);
    CHECK(op.status < 0);
    CHECK_EQ(window.l1[1], 0);
    CHECK_EQ(window.map(0, 0), 0);
    child.destroy();
}

TEST(child_grant_transfer, "GNTTABOP_transfer: a frame of Domain 0 becomes the other domain's",
     "") {
    Child child;
    const Window window = open_window();
    auto* entries = grants_of(child, window, 0);
    set_max_memory(child.id(), Child::kPages + 1);
    entries[9].domid = 0;
    entries[9].frame = Child::kPages;  // the pseudo-physical address that it gets
    compiler_barrier();
    entries[9].flags = GTF_accept_transfer;
    auto* page = alloc_page_as<uint64_t>();
    const uint64_t mfn = mfn_of(page);
    gnttab_transfer_t op = {.mfn = mfn, .domid = child.id(), .ref = 9};
    CHECK_EQ(grant_table_op(GNTTABOP_transfer, &op, 1), 0);
    CHECK(op.status < 0);  // still mapped
    remap(page, 0);
    CHECK_EQ(grant_table_op(GNTTABOP_transfer, &op, 1), 0);
    CHECK_EQ(op.status, GNTST_okay);
    CHECK_EQ(entries[9].flags & GTF_transfer_completed, GTF_transfer_completed);
    CHECK_EQ(entries[9].frame, mfn);
    CHECK_EQ(child.info().tot_pages, Child::kPages + 1);
    CHECK(update_va_mapping(addr(page), pte(mfn, kDataFlags), UVMF_INVLPG) < 0);
    CHECK_EQ(window.map(0, 0), 0);
    child.destroy();
    // Domain 0 takes another frame in its place.
    xen_pfn_t list[1] = {pfn_of(page)};
    xen_memory_reservation_t r = {.nr_extents = 1, .domid = DOMID_SELF};
    set_xen_guest_handle(r.extent_start, list);
    CHECK_EQ(memory_op(XENMEM_populate_physmap, &r), 1);
    p2m()[pfn_of(page)] = list[0];
    remap(page, pte(list[0], kDataFlags));
}

}  // namespace guest
