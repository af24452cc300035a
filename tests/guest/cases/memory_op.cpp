// memory_op: the reservation, the machine's map, frames in and out.
#include "memory.hpp"

#include <initializer_list>

#include "child.hpp"
#include "events.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {

long current_pages() {
    static xen_memory_domain who = {.domid = DOMID_SELF};
    return memory_op(XENMEM_current_reservation, &who);
}

xen_memory_reservation_t reservation(xen_pfn_t* list, unsigned count, unsigned order = 0) {
    xen_memory_reservation_t r = {.nr_extents = count, .extent_order = order, .domid = DOMID_SELF};
    set_xen_guest_handle(r.extent_start, list);
    return r;
}

/// Takes the page's mapping away so that its frame can be given back.
uint64_t unmap_page(const void* page) {
    const uint64_t mfn = mfn_of(page);
    remap(page, 0);
    return mfn;
}

}  // namespace

TEST(memory_decrease_populate, "XENMEM decrease_reservation and populate_physmap: out and in again",
     "") {
    const long before = current_pages();
    char* pages = static_cast<char*>(alloc_pages(4));
    xen_pfn_t list[4];
    for (unsigned i = 0; i < 4; ++i) {
        list[i] = unmap_page(pages + i * kPageSize);
    }
    const uint64_t first = list[0];
    auto r = reservation(list, 4);
    CHECK_EQ(memory_op(XENMEM_decrease_reservation, &r), 4);
    CHECK_EQ(current_pages(), before - 4);
    // The frame is no longer ours: it cannot be mapped.
    CHECK(update_va_mapping(addr(pages), pte(first, kDataFlags), UVMF_INVLPG) < 0);
    for (unsigned i = 0; i < 4; ++i) list[i] = pfn_of(pages) + i;
    CHECK_EQ(memory_op(XENMEM_populate_physmap, &r), 4);
    CHECK_EQ(current_pages(), before);
    for (unsigned i = 0; i < 4; ++i) {
        CHECK_EQ(m2p(list[i]), pfn_of(pages) + i);
        p2m()[pfn_of(pages) + i] = list[i];
        remap(pages + i * kPageSize, pte(list[i], kDataFlags));
    }
}

TEST(memory_decrease_refuses,
     "XENMEM decrease_reservation: a mapped frame stays until unmapped; not ours", "") {
    auto* page = alloc_page_as<uint64_t>();
    *page = 0x1234;
    const long before = current_pages();
    xen_pfn_t list[1] = {0xffffffffful};
    auto r = reservation(list, 1);
    CHECK_EQ(memory_op(XENMEM_decrease_reservation, &r), 0);
    CHECK_EQ(current_pages(), before);
    list[0] = mfn_of(boot_l4());  // pinned page table
    CHECK_EQ(*boot_l4(), *boot_l4());
    r = reservation(list, 1, 99);
    CHECK(memory_op(XENMEM_decrease_reservation, &r) <= 0);
    r = reservation(reinterpret_cast<xen_pfn_t*>(0x1000), 1);
    CHECK(memory_op(XENMEM_decrease_reservation, &r) <= 0);
    r = reservation(list, 1);
    r.domid = 1234;
    CHECK_EQ(memory_op(XENMEM_decrease_reservation, &r), 0);
    CHECK_EQ(current_pages(), before);
    CHECK_EQ(*page, 0x1234);
}

TEST(memory_populate_order, "XENMEM populate_physmap: an order-4 extent is adjacent and aligned",
     "") {
    // Give pages back first: Domain 0 is at its limit.
    char* pages = static_cast<char*>(alloc_pages(16));
    xen_pfn_t list[16];
    for (unsigned i = 0; i < 16; ++i) list[i] = unmap_page(pages + i * kPageSize);
    auto r = reservation(list, 16);
    CHECK_EQ(memory_op(XENMEM_decrease_reservation, &r), 16);
    list[0] = pfn_of(pages);
    r = reservation(list, 1, 4);
    CHECK_EQ(memory_op(XENMEM_populate_physmap, &r), 1);
    CHECK_EQ(list[0] & 15, 0);
    for (unsigned i = 0; i < 16; ++i) {
        CHECK_EQ(m2p(list[0] + i), pfn_of(pages) + i);
        p2m()[pfn_of(pages) + i] = list[0] + i;
        remap(pages + i * kPageSize, pte(list[0] + i, kDataFlags));
    }
}

TEST(memory_increase, "XENMEM increase_reservation: frames without a pseudo-physical address", "") {
    char* pages = static_cast<char*>(alloc_pages(2));
    xen_pfn_t list[2] = {unmap_page(pages), unmap_page(pages + kPageSize)};
    auto r = reservation(list, 2);
    CHECK_EQ(memory_op(XENMEM_decrease_reservation, &r), 2);
    list[0] = list[1] = 0;
    CHECK_EQ(memory_op(XENMEM_increase_reservation, &r), 2);
    CHECK(list[0] && list[1] && list[0] != list[1]);
    for (unsigned i = 0; i < 2; ++i) {
        mmu_update_t update = {list[i] << 12 | MMU_MACHPHYS_UPDATE, pfn_of(pages) + i};
        CHECK_EQ(mmu_update(&update, 1), 0);
        p2m()[pfn_of(pages) + i] = list[i];
        remap(pages + i * kPageSize, pte(list[i], kDataFlags));
    }
}

TEST(memory_limit, "XENMEM populate_physmap beyond the domain's maximum stops short",
     "args=dom0_mem=128M,max:128M") {
    xen_pfn_t list[64];
    const long before = current_pages();
    xen_memory_domain who = {.domid = DOMID_SELF};
    const long maximum = memory_op(XENMEM_maximum_reservation, &who);
    CHECK(maximum >= before);
    long got = 0;
    while (got < 1 << 16) {
        for (unsigned i = 0; i < 64; ++i) list[i] = start_info->nr_pages + i;
        auto r = reservation(list, 64);
        const long now = memory_op(XENMEM_increase_reservation, &r);
        CHECK(now >= 0);
        got += now;
        if (now < 64) break;
    }
    CHECK_EQ(current_pages(), before + got);
    CHECK(current_pages() <= maximum);
}

TEST(memory_exchange, "XENMEM_exchange: two single frames for one pair that is adjacent", "") {
    char* pages = static_cast<char*>(alloc_pages(2));
    xen_pfn_t in[2] = {unmap_page(pages), unmap_page(pages + kPageSize)};
    xen_pfn_t out[1] = {pfn_of(pages)};
    xen_memory_exchange_t exchange = {};
    exchange.in = reservation(in, 2);
    exchange.out = reservation(out, 1, 1);
    const long before = current_pages();
    CHECK_EQ(memory_op(XENMEM_exchange, &exchange), 0);
    CHECK_EQ(exchange.nr_exchanged, 2);
    CHECK_EQ(current_pages(), before);
    CHECK_EQ(out[0] & 1, 0);
    for (unsigned i = 0; i < 2; ++i) {
        CHECK_EQ(m2p(out[0] + i), pfn_of(pages) + i);
        p2m()[pfn_of(pages) + i] = out[0] + i;
        remap(pages + i * kPageSize, pte(out[0] + i, kDataFlags));
    }
    // The sums must agree.
    exchange = {};
    exchange.in = reservation(in, 2);
    exchange.out = reservation(out, 2, 1);
    CHECK_EQ(memory_op(XENMEM_exchange, &exchange), -kEINVAL);
}

TEST(memory_maxima, "XENMEM maximum_ram_page, current and maximum reservation, maximum_gpfn", "") {
    CHECK_EQ(current_pages(), start_info->nr_pages);
    const long last = memory_op(XENMEM_maximum_ram_page, nullptr);
    CHECK(last > (400 << 8) && last < (1 << 24));
    for (uint64_t pfn = 0; pfn < start_info->nr_pages; pfn += 97)
        CHECK(static_cast<long>(p2m()[pfn]) <= last);
    xen_memory_domain who = {.domid = 1234};
    CHECK_EQ(memory_op(XENMEM_current_reservation, &who), -kESRCH);
    who.domid = DOMID_SELF;
    CHECK(memory_op(XENMEM_maximum_reservation, &who) >= current_pages());
}

namespace {
struct [[gnu::packed]] MapEntry {
    uint64_t start, length;
    uint32_t type;
};
}  // namespace

TEST(memory_maps, "XENMEM memory_map and machine_memory_map: RAM regions, sorted; a small buffer",
     "") {
    static MapEntry entries[64];
    for (const int command : {XENMEM_memory_map, XENMEM_machine_memory_map}) {
        xen_memory_map_t map = {.nr_entries = 64};
        set_xen_guest_handle(map.buffer, entries);
        const long rc = memory_op(command, &map);
        if (command == XENMEM_memory_map && rc == -kENOSYS)
            continue;  // Domain 0 has no map of its own
        CHECK_EQ(rc, 0);
        CHECK(map.nr_entries >= 1 && map.nr_entries <= 64);
        uint64_t ram = 0;
        for (unsigned i = 0; i < map.nr_entries; ++i) {
            if (i) CHECK(entries[i].start >= entries[i - 1].start + entries[i - 1].length);
            if (entries[i].type == 1) ram += entries[i].length;
        }
        CHECK(ram > (400ul << 20) && ram <= 512ul << 20);
        if (command == XENMEM_machine_memory_map) {
            map.nr_entries = 1;
            CHECK_EQ(memory_op(command, &map), -kEINVAL);
        }
    }
}

TEST(memory_add_to_physmap_pv, "XENMEM_add_to_physmap: not for a domain whose frames are machine's",
     "") {
    xen_add_to_physmap_t add = {
        .domid = DOMID_SELF, .space = XENMAPSPACE_shared_info, .gpfn = pfn_of(alloc_page())};
    CHECK_EQ(memory_op(XENMEM_add_to_physmap, &add), -kEACCES);
    add.domid = 1234;
    CHECK_EQ(memory_op(XENMEM_add_to_physmap, &add), -kESRCH);
}

TEST(memory_claim, "XENMEM_claim_pages: staked and released; more than there is refused", "") {
    xen_memory_reservation_t r = {.nr_extents = 1ul << 40, .domid = 0};
    CHECK(memory_op(XENMEM_claim_pages, &r) < 0);
    r.nr_extents = 0;
    CHECK_EQ(memory_op(XENMEM_claim_pages, &r), 0);
    r.extent_order = 1;
    CHECK_EQ(memory_op(XENMEM_claim_pages, &r), -kEINVAL);
}

TEST(memory_acquire_resource_refuses, "XENMEM_acquire_resource: one's own domain, none, padding",
     "") {
    xen_mem_acquire_resource_t resource = {.domid = DOMID_SELF,
                                           .type = XENMEM_resource_grant_table,
                                           .id = XENMEM_resource_grant_table_id_shared};
    CHECK_EQ(memory_op(XENMEM_acquire_resource, &resource), -kESRCH);
    resource.domid = 0;
    CHECK_EQ(memory_op(XENMEM_acquire_resource, &resource), -kEPERM);
    resource.domid = 1234;
    CHECK_EQ(memory_op(XENMEM_acquire_resource, &resource), -kESRCH);
    resource.pad = 1;
    CHECK_EQ(memory_op(XENMEM_acquire_resource, &resource), -kEINVAL);
}

TEST(memory_unknown, "memory_op: unknown command, unmapped argument", "") {
    CHECK_EQ(memory_op(55, nullptr), -kENOSYS);
    CHECK_EQ(hypercall(__HYPERVISOR_memory_op, XENMEM_exchange, 0x1000), -kEFAULT);
    // The calls that answer with a number of extents have done none.
    CHECK_EQ(hypercall(__HYPERVISOR_memory_op, XENMEM_populate_physmap, 0x1000), 0);
}

TEST(vm_assist_types, "vm_assist: the types Linux sets, on and off; unknown ones refused", "") {
    for (const int type : {VMASST_TYPE_4gb_segments, VMASST_TYPE_writable_pagetables,
                           VMASST_TYPE_pae_extended_cr3, VMASST_TYPE_architectural_iopl,
                           VMASST_TYPE_runstate_update_flag, VMASST_TYPE_m2p_strict}) {
        CHECK_EQ(vm_assist(VMASST_CMD_enable, type), 0);
        CHECK_EQ(vm_assist(VMASST_CMD_disable, type), 0);
    }
    CHECK_EQ(vm_assist(VMASST_CMD_enable, 17), -kEINVAL);
    CHECK_EQ(vm_assist(VMASST_CMD_enable, 63), -kEINVAL);
    CHECK_EQ(vm_assist(VMASST_CMD_enable, 1000), -kEINVAL);
    CHECK_EQ(vm_assist(7, VMASST_TYPE_4gb_segments), -kENOSYS);
}

namespace {

uint64_t free_frames() {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_physinfo);
    CHECK_EQ(sysctl(&op), 0);
    return op.u.physinfo.free_pages;
}

}  // namespace

TEST(memory_low_is_told, "VIRQ_ENOMEM at low_mem_virq_limit= and half of it, once on the way down",
     "args=dom0_mem=128M low_mem_virq_limit=32M") {
    constexpr uint64_t kLimit = 32 << 8;  // frames
    constexpr unsigned kOrder = 9;
    static xen_pfn_t taken[256];
    unsigned count = 0;
    const Port port = bind_virq(VIRQ_ENOMEM);
    const auto take = [&] {
        auto r = reservation(taken + count, 1, kOrder);
        taken[count] = 0;
        CHECK_EQ(memory_op(XENMEM_increase_reservation, &r), 1);
        ++count;
    };
    const auto give = [&] {
        auto r = reservation(taken + --count, 1, kOrder);
        CHECK_EQ(memory_op(XENMEM_decrease_reservation, &r), 1);
    };
    CHECK(free_frames() > 2 * kLimit);
    for (uint64_t limit : {kLimit, kLimit / 2}) {
        clear_pending(port);
        while (free_frames() > limit + (1 << kOrder)) {
            take();
            CHECK(!pending(port));
        }
        while (free_frames() > limit) take();
        CHECK(wait_for([&] { return pending(port); }));
        clear_pending(port);
        give();
        take();
        CHECK(!pending(port));
    }
    while (count) give();
    CHECK_EQ(close_port(port), 0);
}

}  // namespace guest
