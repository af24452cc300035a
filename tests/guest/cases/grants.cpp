// Grant tables, version 1, a domain with itself.
#include "grants.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {

grant_ref_t grant(const void* page, bool readonly = false, domid_t to = 0) {
    static grant_ref_t next = 16;
    const grant_ref_t ref = next++;
    allow(own_grants()[ref], mfn_of(page), to, readonly ? GTF_readonly : 0);
    return ref;
}

}  // namespace

TEST(grant_setup_and_size, "GNTTABOP setup_table, query_size, get_version; the frames' contents",
     "") {
    gnttab_query_size_t size = {.dom = DOMID_SELF};
    CHECK_EQ(grant_table_op(GNTTABOP_query_size, &size, 1), 0);
    CHECK_EQ(size.status, GNTST_okay);
    CHECK(size.max_nr_frames >= size.nr_frames && size.max_nr_frames >= 32);
    gnttab_get_version_t version = {.dom = DOMID_SELF};
    CHECK_EQ(grant_table_op(GNTTABOP_get_version, &version, 1), 0);
    CHECK_EQ(version.version, 1);
    for (unsigned ref = 400; ref < 512; ++ref) CHECK_EQ(own_grants()[ref].flags, 0);
    xen_pfn_t frames[4] = {};
    gnttab_setup_table_t setup = {.dom = DOMID_SELF, .nr_frames = 4};
    set_xen_guest_handle(setup.frame_list, frames);
    CHECK_EQ(grant_table_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_EQ(setup.status, GNTST_okay);
    for (const xen_pfn_t frame : frames) CHECK(frame);
    CHECK_EQ(grant_table_op(GNTTABOP_query_size, &size, 1), 0);
    CHECK(size.nr_frames >= 4);
    setup.nr_frames = size.max_nr_frames + 1;
    CHECK_EQ(grant_table_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_EQ(setup.status, GNTST_general_error);
    setup = {.dom = 1234, .nr_frames = 1};
    CHECK_EQ(grant_table_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_EQ(setup.status, GNTST_bad_domain);
}

TEST(grant_map_by_address, "GNTTABOP map_grant_ref by host address, use bits, unmap", "") {
    auto* page = alloc_page_as<uint64_t>();
    *page = 0x9a9a;
    const grant_ref_t ref = grant(page);
    const Window window = open_window();
    const auto op = map_grant(window.va(1), ref, GNTMAP_host_map);
    CHECK_EQ(op.status, GNTST_okay);
    CHECK_EQ(*window.at(1), 0x9a9a);
    *window.at(1) = 0xb0b0;
    CHECK_EQ(*page, 0xb0b0);
    CHECK_EQ(own_grants()[ref].flags, GTF_permit_access | GTF_reading | GTF_writing);
    CHECK_EQ(op.dev_bus_addr >> 12, mfn_of(page));
    CHECK_EQ(unmap_grant(window.va(1), op.handle), GNTST_okay);
    CHECK_EQ(own_grants()[ref].flags, GTF_permit_access);
    CHECK_EQ(window.l1[1], 0);
    CHECK(catch_trap([&] { *window.at(1); }).is(kPageFault));
    CHECK_EQ(unmap_grant(window.va(1), op.handle), GNTST_bad_handle);
}

TEST(grant_map_by_pte, "GNTTABOP map_grant_ref with GNTMAP_contains_pte, as gntdev does", "") {
    auto* page = alloc_page_as<uint64_t>();
    *page = 0x11;
    const grant_ref_t ref = grant(page);
    const Window window = open_window();
    const uint64_t where = machine_address(&window.l1[2]);
    const auto op = map_grant(where, ref, GNTMAP_host_map | GNTMAP_contains_pte | GNTMAP_readonly);
    CHECK_EQ(op.status, GNTST_okay);
    CHECK_EQ(*window.at(2), 0x11);
    CHECK(catch_trap([&] { *window.at(2) = 1; }).is(kPageFault, kPfPresent | kPfWrite));
    CHECK_EQ(own_grants()[ref].flags, GTF_permit_access | GTF_reading);
    CHECK_EQ(unmap_grant(where, op.handle), GNTST_okay);
    CHECK_EQ(window.l1[2], 0);
}

TEST(grant_map_twice, "GNTTABOP map_grant_ref: the use bits stay until the last mapping goes", "") {
    auto* page = alloc_page_as<uint64_t>();
    const grant_ref_t ref = grant(page);
    const Window window = open_window();
    const auto a = map_grant(window.va(0), ref, GNTMAP_host_map);
    const auto b = map_grant(window.va(1), ref, GNTMAP_host_map | GNTMAP_readonly);
    CHECK_EQ(a.status | b.status, GNTST_okay);
    CHECK(a.handle != b.handle);
    CHECK_EQ(unmap_grant(window.va(0), a.handle), GNTST_okay);
    CHECK_EQ(own_grants()[ref].flags, GTF_permit_access | GTF_reading);
    CHECK_EQ(unmap_grant(window.va(1), b.handle), GNTST_okay);
    CHECK_EQ(own_grants()[ref].flags, GTF_permit_access);
}

TEST(grant_map_holds_page, "a mapped grant holds its page: no page table meanwhile", "") {
    auto* page = alloc_page_as<uint64_t>();
    const grant_ref_t ref = grant(page);
    const Window window = open_window();
    const auto op = map_grant(window.va(0), ref, GNTMAP_host_map);
    CHECK_EQ(op.status, GNTST_okay);
    CHECK_EQ(pin(page, 1), -kEINVAL);
    CHECK_EQ(unmap_grant(window.va(0), op.handle), GNTST_okay);
    CHECK_EQ(pin(page, 1), 0);
    // And a page table cannot be granted writable.
    const auto refused = map_grant(window.va(0), ref, GNTMAP_host_map);
    CHECK(refused.status < 0);
    CHECK_EQ(window.l1[0], 0);
    CHECK_EQ(own_grants()[ref].flags, GTF_permit_access);
    CHECK_EQ(unpin(page), 0);
    make_writable(page);
}

TEST(grant_map_refuses, "map_grant_ref: bad reference, wrong domain, read-only grant, bad address",
     "") {
    auto* page = alloc_page_as<uint64_t>();
    const Window window = open_window();
    CHECK_EQ(map_grant(window.va(0), 1u << 24, GNTMAP_host_map).status, GNTST_bad_gntref);
    CHECK_EQ(map_grant(window.va(0), 500, GNTMAP_host_map).status, GNTST_general_error);
    CHECK_EQ(map_grant(window.va(0), grant(page), GNTMAP_host_map, 1234).status, GNTST_bad_domain);
    CHECK_EQ(map_grant(window.va(0), grant(page, false, 7), GNTMAP_host_map).status,
             GNTST_general_error);
    CHECK_EQ(map_grant(window.va(0), grant(page, true), GNTMAP_host_map).status,
             GNTST_general_error);
    CHECK_EQ(map_grant(HYPERVISOR_VIRT_START, grant(page), GNTMAP_host_map).status,
             GNTST_general_error);
    CHECK_EQ(map_grant(window.va(0), grant(page), 0).status, GNTST_bad_gntref);
    CHECK_EQ(window.l1[0], 0);
}

TEST(grant_unmap_refuses, "unmap_grant_ref: no such handle, another address; the mapping stays",
     "") {
    auto* page = alloc_page_as<uint64_t>();
    *page = 5;
    const grant_ref_t ref = grant(page);
    const Window window = open_window();
    const auto op = map_grant(window.va(0), ref, GNTMAP_host_map);
    CHECK_EQ(op.status, GNTST_okay);
    CHECK_EQ(unmap_grant(window.va(0), 0xffffff), GNTST_bad_handle);
    CHECK(unmap_grant(window.va(1), op.handle) < 0);
    CHECK_EQ(*window.at(0), 5);
    CHECK_EQ(unmap_grant(window.va(0), op.handle), GNTST_okay);
}

TEST(grant_unmap_and_replace, "GNTTABOP unmap_and_replace: the entry of another address moves in",
     "") {
    auto* page = alloc_page_as<uint64_t>();
    auto* other = alloc_page_as<uint64_t>();
    *page = 1;
    *other = 2;
    const Window window = open_window();
    const auto op = map_grant(window.va(0), grant(page), GNTMAP_host_map);
    CHECK_EQ(op.status, GNTST_okay);
    CHECK_EQ(window.map(1, pte(mfn_of(other), kDataFlags)), 0);
    gnttab_unmap_and_replace_t replace = {
        .host_addr = window.va(0), .new_addr = window.va(1), .handle = op.handle};
    CHECK_EQ(grant_table_op(GNTTABOP_unmap_and_replace, &replace, 1), 0);
    CHECK_EQ(replace.status, GNTST_okay);
    CHECK_EQ(*window.at(0), 2);
    CHECK_EQ(window.l1[1], 0);
}

TEST(grant_batch, "map and unmap of eight grants in one call each; one bad does not stop the rest",
     "") {
    const Window window = open_window();
    gnttab_map_grant_ref_t maps[8] = {};
    gnttab_unmap_grant_ref_t unmaps[8] = {};
    uint64_t* pages[8];
    for (unsigned i = 0; i < 8; ++i) {
        pages[i] = alloc_page_as<uint64_t>();
        *pages[i] = i;
        maps[i] = {.host_addr = window.va(i),
                   .flags = GNTMAP_host_map,
                   .ref = i == 3 ? 1u << 24 : grant(pages[i]),
                   .dom = 0};
    }
    CHECK_EQ(grant_table_op(GNTTABOP_map_grant_ref, maps, 8), 0);
    for (unsigned i = 0; i < 8; ++i) {
        CHECK_EQ(maps[i].status, i == 3 ? GNTST_bad_gntref : GNTST_okay);
        if (i != 3) CHECK_EQ(*window.at(i), i);
        unmaps[i] = {.host_addr = window.va(i), .handle = i == 3 ? 0xffffff : maps[i].handle};
    }
    CHECK_EQ(grant_table_op(GNTTABOP_unmap_grant_ref, unmaps, 8), 0);
    for (unsigned i = 0; i < 8; ++i) {
        CHECK_EQ(unmaps[i].status, i == 3 ? GNTST_bad_handle : GNTST_okay);
        CHECK_EQ(window.l1[i], 0);
    }
}

TEST(grant_copy, "GNTTABOP copy: reference to frame, frame to reference, offsets", "") {
    auto* from = alloc_page_as<unsigned char>();
    auto* to = alloc_page_as<unsigned char>();
    for (unsigned i = 0; i < kPageSize; ++i) from[i] = static_cast<unsigned char>(i * 5);
    const grant_ref_t read_only = grant(from, true);
    gnttab_copy_t op = copy_from_grant(read_only, to, 100);
    op.source.offset = 50;
    op.dest.offset = 4000 - 4;
    CHECK_EQ(run_copy(op), GNTST_okay);
    CHECK_EQ(own_grants()[read_only].flags, GTF_permit_access | GTF_readonly);  // in use no longer
    CHECK(!memcmp(to + 3996, from + 50, 100));
    CHECK_EQ(to[3995], 0);
    op = {};
    op.source.u.gmfn = mfn_of(from);
    op.source.domid = DOMID_SELF;
    op.dest.u.ref = grant(to);
    op.dest.domid = DOMID_SELF;
    op.len = kPageSize;
    op.flags = GNTCOPY_dest_gref;
    CHECK_EQ(run_copy(op), GNTST_okay);
    CHECK(!memcmp(to, from, kPageSize));
}

TEST(grant_copy_refuses,
     "GNTTABOP copy: across a page, read-only target, bad reference, a page table", "") {
    auto* from = alloc_page_as<unsigned char>();
    auto* to = alloc_page_as<unsigned char>();
    gnttab_copy_t op = copy_from_grant(grant(from), to, 100);
    op.source.offset = 4000;
    CHECK_EQ(run_copy(op), GNTST_bad_copy_arg);
    op = copy_from_grant(500, to, 10);
    CHECK_EQ(run_copy(op), GNTST_general_error);
    op = copy_from_grant(grant(from), boot_l4(), 10);
    CHECK(run_copy(op) < 0);
    op = {};
    op.source.u.gmfn = mfn_of(from);
    op.source.domid = DOMID_SELF;
    op.dest.u.ref = grant(to, true);
    op.dest.domid = DOMID_SELF;
    op.len = 8;
    op.flags = GNTCOPY_dest_gref;
    CHECK_EQ(run_copy(op), GNTST_general_error);
    op.dest.u.ref = grant(to);
    op.dest.domid = 1234;
    CHECK_EQ(run_copy(op), GNTST_bad_domain);
}

TEST(grant_transfer_refuses, "GNTTABOP transfer: bad frame, no such domain, to itself", "") {
    gnttab_transfer_t op = {.mfn = 0xffffffffful, .domid = DOMID_SELF, .ref = 20};
    CHECK_EQ(grant_table_op(GNTTABOP_transfer, &op, 1), 0);
    CHECK_EQ(op.status, GNTST_bad_page);
    auto* page = alloc_page_as<uint64_t>();
    op = {.mfn = mfn_of(page), .domid = 1234, .ref = 20};
    CHECK_EQ(grant_table_op(GNTTABOP_transfer, &op, 1), 0);
    CHECK(op.status < 0);
    CHECK_EQ(*page, 0);
}

TEST(grant_swap, "GNTTABOP swap_grant_ref: two entries change places; a mapped one refused", "") {
    auto* page = alloc_page_as<uint64_t>();
    auto* other = alloc_page_as<uint64_t>();
    const grant_ref_t a = grant(page), b = grant(other, true);
    gnttab_swap_grant_ref_t op = {.ref_a = a, .ref_b = b};
    CHECK_EQ(grant_table_op(GNTTABOP_swap_grant_ref, &op, 1), 0);
    CHECK_EQ(op.status, GNTST_okay);
    CHECK_EQ(own_grants()[a].frame, mfn_of(other));
    CHECK_EQ(own_grants()[b].frame, mfn_of(page));
    CHECK_EQ(own_grants()[a].flags, GTF_permit_access | GTF_readonly);
    const Window window = open_window();
    const auto mapped = map_grant(window.va(0), b, GNTMAP_host_map);
    CHECK_EQ(mapped.status, GNTST_okay);
    CHECK_EQ(grant_table_op(GNTTABOP_swap_grant_ref, &op, 1), 0);
    CHECK_EQ(op.status, GNTST_eagain);
    CHECK_EQ(unmap_grant(window.va(0), mapped.handle), GNTST_okay);
}

TEST(grant_version_two, "GNTTABOP set_version 2: the entries' new shape, status frames, copy",
     "own-boot") {
    gnttab_set_version_t version = {.version = 3};
    CHECK_EQ(grant_table_op(GNTTABOP_set_version, &version, 1), -kEINVAL);
    version.version = 2;
    CHECK_EQ(grant_table_op(GNTTABOP_set_version, &version, 1), 0);
    gnttab_get_version_t now = {.dom = DOMID_SELF};
    CHECK_EQ(grant_table_op(GNTTABOP_get_version, &now, 1), 0);
    CHECK_EQ(now.version, 2);
    xen_pfn_t frames[1] = {};
    gnttab_setup_table_t setup = {.dom = DOMID_SELF, .nr_frames = 1};
    set_xen_guest_handle(setup.frame_list, frames);
    CHECK_EQ(grant_table_op(GNTTABOP_setup_table, &setup, 1), 0);
    uint64_t status_frames[1] = {};
    gnttab_get_status_frames_t status = {.nr_frames = 1, .dom = DOMID_SELF};
    set_xen_guest_handle(status.frame_list, status_frames);
    CHECK_EQ(grant_table_op(GNTTABOP_get_status_frames, &status, 1), 0);
    CHECK_EQ(status.status, GNTST_okay);
    const Window window = open_window();
    CHECK_EQ(window.map(0, pte(frames[0], kDataFlags)), 0);
    CHECK_EQ(window.map(1, pte(status_frames[0], kDataFlags)), 0);
    auto* entries = reinterpret_cast<volatile grant_entry_v2_t*>(window.va(0));
    auto* states = reinterpret_cast<volatile grant_status_t*>(window.va(1));
    auto* page = alloc_page_as<uint64_t>();
    entries[30].full_page.frame = mfn_of(page);
    entries[30].hdr.domid = 0;
    entries[30].hdr.flags = GTF_permit_access;
    const auto op = map_grant(window.va(2), 30, GNTMAP_host_map);
    CHECK_EQ(op.status, GNTST_okay);
    CHECK_EQ(states[30], GTF_reading | GTF_writing);
    CHECK_EQ(unmap_grant(window.va(2), op.handle), GNTST_okay);
    CHECK_EQ(states[30], 0);
    // A grant of part of a page can be copied from, inside that part only.
    entries[31].sub_page.frame = mfn_of(page);
    entries[31].sub_page.page_off = 100;
    entries[31].sub_page.length = 50;
    entries[31].hdr.domid = 0;
    entries[31].hdr.flags = GTF_permit_access | GTF_sub_page | GTF_readonly;
    gnttab_copy_t copy = copy_from_grant(31, alloc_page(), 50);
    copy.source.offset = 100;
    CHECK_EQ(run_copy(copy), GNTST_okay);
    copy.len = 51;
    CHECK(run_copy(copy) < 0);
}

TEST(grant_bad_calls, "grant_table_op: unknown command, unmapped arguments", "") {
    CHECK_EQ(hypercall(__HYPERVISOR_grant_table_op, 77, 0, 0), -kENOSYS);
    CHECK_EQ(hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref, 0x1000, 1), -kEFAULT);
    CHECK_EQ(hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, 0x1000, 1), -kEFAULT);
    gnttab_query_size_t size = {.dom = DOMID_SELF};
    CHECK_EQ(grant_table_op(GNTTABOP_query_size, &size, 2), -kEINVAL);
}

}  // namespace guest
