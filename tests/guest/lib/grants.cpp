#include "grants.hpp"

#include "test.hpp"

namespace guest {

uint64_t own_grant_frame() {
    xen_pfn_t frames[1] = {};
    gnttab_setup_table_t setup = {.dom = DOMID_SELF, .nr_frames = 1};
    set_xen_guest_handle(setup.frame_list, frames);
    CHECK_EQ(grant_table_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_EQ(setup.status, GNTST_okay);
    return frames[0];
}

volatile grant_entry_v1_t* own_grants() {
    static volatile grant_entry_v1_t* entries;
    if (entries) return entries;
    const Window window = open_window();
    CHECK_EQ(window.map(0, pte(own_grant_frame(), kDataFlags)), 0);
    return entries = reinterpret_cast<volatile grant_entry_v1_t*>(window.va(0));
}

volatile grant_entry_v1_t* grants_of(const Child& child, const Window& window, unsigned index) {
    xen_pfn_t frames[1] = {};
    xen_mem_acquire_resource_t resource = {.domid = child.id(),
                                           .type = XENMEM_resource_grant_table,
                                           .id = XENMEM_resource_grant_table_id_shared,
                                           .nr_frames = 1};
    set_xen_guest_handle(resource.frame_list, frames);
    CHECK_EQ(memory_op(XENMEM_acquire_resource, &resource), 0);
    mmu_update_t update = {machine_address(&window.l1[index]), pte(frames[0], kDataFlags)};
    CHECK_EQ(mmu_update(&update, 1, nullptr, child.id()), 0);
    return reinterpret_cast<volatile grant_entry_v1_t*>(window.va(index));
}

void allow(volatile grant_entry_v1_t& entry, uint64_t mfn, domid_t to, unsigned flags) {
    entry.frame = static_cast<uint32_t>(mfn);
    entry.domid = to;
    compiler_barrier();
    entry.flags = static_cast<uint16_t>(GTF_permit_access | flags);
}

gnttab_map_grant_ref_t map_grant(uint64_t host_addr, grant_ref_t ref, uint32_t flags, domid_t dom) {
    gnttab_map_grant_ref_t op = {.host_addr = host_addr, .flags = flags, .ref = ref, .dom = dom};
    CHECK_EQ(grant_table_op(GNTTABOP_map_grant_ref, &op, 1), 0);
    return op;
}

int16_t unmap_grant(uint64_t host_addr, grant_handle_t handle) {
    gnttab_unmap_grant_ref_t op = {.host_addr = host_addr, .handle = handle};
    CHECK_EQ(grant_table_op(GNTTABOP_unmap_grant_ref, &op, 1), 0);
    return op.status;
}

gnttab_copy_t copy_from_grant(grant_ref_t from, const void* to, uint16_t length) {
    gnttab_copy_t op = {};
    op.source.u.ref = from;
    op.source.domid = DOMID_SELF;
    op.dest.u.gmfn = mfn_of(to);
    op.dest.domid = DOMID_SELF;
    op.len = length;
    op.flags = GNTCOPY_source_gref;
    return op;
}

int16_t run_copy(gnttab_copy_t& op) {
    CHECK_EQ(grant_table_op(GNTTABOP_copy, &op, 1), 0);
    return op.status;
}

long set_grant_version(unsigned version) {
    gnttab_set_version_t op = {.version = version};
    return grant_table_op(GNTTABOP_set_version, &op, 1);
}

}  // namespace guest
