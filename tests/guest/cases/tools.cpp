// What the tools in Domain 0 ask: sysctl, domctl, platform_op, physdev_op.
#include <initializer_list>

#include "child.hpp"
#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

TEST(sysctl_physinfo, "XEN_SYSCTL_physinfo: CPUs, pages, clock rate", "") {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_physinfo);
    CHECK_EQ(sysctl(&op), 0);
    const auto& info = op.u.physinfo;
    CHECK_EQ(info.nr_cpus, 1);
    CHECK_EQ(info.nr_nodes, 1);
    CHECK(info.total_pages > (500 << 8) / 1 - 4096 && info.total_pages <= 512 << 8);
    CHECK(info.free_pages > 0 && info.free_pages < info.total_pages - start_info->nr_pages);
    CHECK(info.cpu_khz > 100'000);
    CHECK(info.capabilities & XEN_SYSCTL_PHYSCAP_pv);
}

TEST(sysctl_version_checked, "sysctl and domctl of another interface version: -EACCES", "") {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_physinfo);
    op.interface_version -= 1;
    CHECK_EQ(sysctl(&op), -kEACCES);
    xen_domctl_t dom = domctl_of(XEN_DOMCTL_getdomaininfo, 0);
    dom.interface_version += 1;
    CHECK_EQ(domctl(&dom), -kEACCES);
    CHECK_EQ(hypercall(__HYPERVISOR_sysctl, 0x1000), -kEFAULT);
    CHECK_EQ(hypercall(__HYPERVISOR_domctl, 0x1000), -kEFAULT);
    op = sysctl_of(999);
    CHECK_EQ(sysctl(&op), -kENOSYS);
    dom = domctl_of(999, 0);
    CHECK_EQ(domctl(&dom), -kENOSYS);
}

TEST(domain_list, "XEN_SYSCTL_getdomaininfolist and XEN_DOMCTL_getdomaininfo: Domain 0", "") {
    static xen_domctl_getdomaininfo_t list[4];
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_getdomaininfolist);
    op.u.getdomaininfolist.max_domains = 4;
    set_xen_guest_handle(op.u.getdomaininfolist.buffer, list);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.getdomaininfolist.num_domains, 1);
    CHECK_EQ(list[0].domain, 0);
    CHECK(list[0].flags & XEN_DOMINF_running);
    CHECK_EQ(list[0].tot_pages, start_info->nr_pages);
    CHECK_EQ(list[0].nr_online_vcpus, 1);
    CHECK(list[0].cpu_time > 0);
    xen_domctl_t dom = domctl_of(XEN_DOMCTL_getdomaininfo, 0);
    CHECK_EQ(domctl(&dom), 0);
    CHECK_EQ(dom.u.getdomaininfo.tot_pages, start_info->nr_pages);
    CHECK_EQ(dom.u.getdomaininfo.shared_info_frame, start_info->shared_info >> 12);
}

TEST(domain_create_destroy, "XEN_DOMCTL createdomain, destroydomain: pages back to the last", "") {
    const uint64_t before = settled_free_pages();
    const domid_t domain = create_domain();
    CHECK(domain > 0 && domain < DOMID_FIRST_RESERVED);
    xen_domctl_t info = domctl_of(XEN_DOMCTL_getdomaininfo, domain);
    CHECK_EQ(domctl(&info), 0);
    CHECK_EQ(info.domain, domain);
    CHECK(info.u.getdomaininfo.flags & XEN_DOMINF_paused);
    CHECK(!(info.u.getdomaininfo.flags & (XEN_DOMINF_dying | XEN_DOMINF_hvm_guest)));
    CHECK_EQ(info.u.getdomaininfo.handle[0], 0x42);
    CHECK(free_pages() < before);
    destroy_domain(domain);
    expect_free_pages(before);
}

TEST(domain_create_many, "createdomain and destroydomain in a row: no page is lost, ids move on",
     "") {
    const domid_t first = create_domain();
    destroy_domain(first);
    const uint64_t before = settled_free_pages();
    domid_t last = first;
    for (unsigned i = 0; i < 10; ++i) {
        const domid_t domain = create_domain();
        CHECK(domain != last);
        last = domain;
        destroy_domain(domain);
    }
    expect_free_pages(before);
}

TEST(domain_create_refuses, "XEN_DOMCTL_createdomain: an id in use, unknown flags, no vCPUs", "") {
    xen_domctl_t op = domctl_of(XEN_DOMCTL_createdomain, 0);
    op.u.createdomain.max_vcpus = 1;
    op.u.createdomain.max_evtchn_port = 1023;
    op.u.createdomain.max_grant_frames = -1;
    op.u.createdomain.max_maptrack_frames = -1;
    op.u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(1);
    xen_domctl_t bad = op;
    bad.u.createdomain.flags = 1u << 30;
    CHECK_EQ(domctl(&bad), -kEINVAL);
    bad = op;
    bad.u.createdomain.max_vcpus = 0;
    CHECK_EQ(domctl(&bad), -kEINVAL);
    const domid_t domain = create_domain();
    bad = op;
    bad.domain = domain;
    CHECK_EQ(domctl(&bad), -kEEXIST);
    destroy_domain(domain);
    xen_domctl_t gone = domctl_of(XEN_DOMCTL_destroydomain, 1234);
    CHECK_EQ(domctl(&gone), -kESRCH);
    gone.domain = 0;
    CHECK_EQ(domctl(&gone), -kEINVAL);
}

TEST(domain_memory, "max_mem and populate_physmap for another domain; freed with it", "") {
    const uint64_t before = settled_free_pages();
    const domid_t domain = create_domain();
    const uint64_t with_domain = free_pages();
    set_max_memory(domain, 64);
    static xen_pfn_t list[128];
    for (unsigned i = 0; i < 128; ++i) list[i] = i;
    xen_memory_reservation_t r = {.nr_extents = 128, .domid = domain};
    set_xen_guest_handle(r.extent_start, list);
    CHECK_EQ(memory_op(XENMEM_populate_physmap, &r), 64);  // max_mem's limit
    CHECK_EQ(free_pages(), with_domain - 64);
    xen_domctl_t info = domctl_of(XEN_DOMCTL_getdomaininfo, domain);
    CHECK_EQ(domctl(&info), 0);
    CHECK_EQ(info.u.getdomaininfo.tot_pages, 64);
    CHECK_EQ(info.u.getdomaininfo.max_pages, 64);
    for (unsigned i = 0; i < 64; ++i) CHECK_EQ(m2p(list[i]), i);
    destroy_domain(domain);
    expect_free_pages(before);
}

TEST(domain_foreign_map, "mmu_update with a foreign domain: its frames mapped, held past its end",
     "") {
    const uint64_t before = settled_free_pages();
    const domid_t domain = create_domain();
    set_max_memory(domain, 4);
    xen_pfn_t list[1] = {0};
    xen_memory_reservation_t r = {.nr_extents = 1, .domid = domain};
    set_xen_guest_handle(r.extent_start, list);
    CHECK_EQ(memory_op(XENMEM_populate_physmap, &r), 1);
    const Window window = open_window();
    mmu_update_t update = {machine_address(&window.l1[0]), pte(list[0], kDataFlags)};
    // As one's own it is refused, with the owner's id it is not.
    CHECK(mmu_update(&update, 1) < 0);
    CHECK_EQ(mmu_update(&update, 1, nullptr, domain), 0);
    // What concerns the caller's own view cannot be done in another's name.
    mmuext_op_t flush = {.cmd = MMUEXT_TLB_FLUSH_LOCAL};
    CHECK_EQ(mmuext_op(&flush, 1, nullptr, domain), -kEPERM);
    // A fresh page of a domain has been scrubbed.
    for (unsigned i = 0; i < 512; ++i) CHECK_EQ(window.at(0)[i], 0);
    *window.at(0) = 0x4040;
    xen_domctl_t op = domctl_of(XEN_DOMCTL_destroydomain, domain);
    while (domctl(&op) == -kEAGAIN) {
    }
    CHECK_EQ(*window.at(0), 0x4040);
    CHECK(free_pages() < before);
    CHECK_EQ(window.map(0, 0), 0);
    expect_free_pages(before);
}

TEST(domain_pause_counts, "XEN_DOMCTL pausedomain, unpausedomain: counted; not for oneself", "") {
    const domid_t domain = create_domain();
    xen_domctl_t op = domctl_of(XEN_DOMCTL_pausedomain, 0);
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.domain = domain;
    CHECK_EQ(domctl(&op), 0);
    op.cmd = XEN_DOMCTL_unpausedomain;
    CHECK_EQ(domctl(&op), 0);
    op.domain = 1234;
    CHECK_EQ(domctl(&op), -kESRCH);
    destroy_domain(domain);
}

TEST(domain_vcpu_info, "XEN_DOMCTL getvcpuinfo, getvcpuaffinity, getvcpucontext of Domain 0", "") {
    xen_domctl_t op = domctl_of(XEN_DOMCTL_getvcpuinfo, 0);
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(op.u.getvcpuinfo.online, 1);
    CHECK_EQ(op.u.getvcpuinfo.running, 1);
    CHECK_EQ(op.u.getvcpuinfo.cpu, 0);
    op.u.getvcpuinfo.vcpu = 99999;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.u.getvcpuinfo.vcpu = 5;
    note("%ld", domctl(&op));
    uint8_t map[8] = {};
    op = domctl_of(XEN_DOMCTL_getvcpuaffinity, 0);
    op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
    op.u.vcpuaffinity.cpumap_hard.nr_bits = 64;
    set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, map);
    CHECK_EQ(domctl(&op), 0);
    CHECK(map[0] & 1);
}

TEST(sysctl_console_ring, "XEN_SYSCTL_readconsole: the hypervisor's log, with its boot line",
     "own-boot") {
    auto* text = static_cast<char*>(alloc_pages(8));
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_readconsole);
    op.u.readconsole.count = 8 * kPageSize;
    set_xen_guest_handle(op.u.readconsole.buffer, text);
    CHECK_EQ(sysctl(&op), 0);
    CHECK(op.u.readconsole.count > 100 && op.u.readconsole.count <= 8 * kPageSize);
    bool found = false;
    for (unsigned i = 0; i + 8 < op.u.readconsole.count; ++i)
        found |= !memcmp(text + i, "dom0_mem", 8);
    CHECK(found);
}

TEST(sysctl_topology, "XEN_SYSCTL cputopoinfo and numainfo: sizes asked, then filled", "") {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_cputopoinfo);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.cputopoinfo.num_cpus, 1);
    xen_sysctl_cputopo_t cpus[4] = {};
    op = sysctl_of(XEN_SYSCTL_cputopoinfo);
    op.u.cputopoinfo.num_cpus = 4;
    set_xen_guest_handle(op.u.cputopoinfo.cputopo, cpus);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.cputopoinfo.num_cpus, 1);
    CHECK_EQ(cpus[0].socket, 0);
    CHECK_EQ(cpus[0].node, 0);
    op = sysctl_of(XEN_SYSCTL_numainfo);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.numainfo.num_nodes, 1);
}

TEST(sysctl_scheduler, "XEN_SYSCTL sched_id, cpupool_op: pool 0 holds the CPU", "") {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_sched_id);
    CHECK_EQ(sysctl(&op), 0);
    CHECK(op.u.sched_id.sched_id >= XEN_SCHEDULER_CREDIT);
    op = sysctl_of(XEN_SYSCTL_cpupool_op);
    op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_INFO;
    uint8_t map[8] = {};
    op.u.cpupool_op.cpumap.nr_bits = 64;
    set_xen_guest_handle(op.u.cpupool_op.cpumap.bitmap, map);
    // Domains of earlier tests leave the pool when the last of them is gone.
    CHECK(wait_for([&] { return sysctl(&op) != 0 || op.u.cpupool_op.n_dom == 1; }));
    CHECK_EQ(op.u.cpupool_op.cpupool_id, 0);
    CHECK_EQ(op.u.cpupool_op.n_dom, 1);
    CHECK_EQ(map[0], 1);
}

TEST(platform_cpuinfo, "XENPF get_cpuinfo, firmware_info; another interface version refused", "") {
    xen_platform_op_t op = {};
    op.cmd = XENPF_get_cpuinfo;
    op.interface_version = XENPF_INTERFACE_VERSION;
    CHECK_EQ(platform_op(&op), 0);
    CHECK_EQ(op.u.pcpu_info.max_present, 0);
    CHECK(op.u.pcpu_info.flags & XEN_PCPU_FLAGS_ONLINE);
    op.interface_version = 1;
    CHECK_EQ(platform_op(&op), -kEACCES);
    op = {};
    op.cmd = 999;
    op.interface_version = XENPF_INTERFACE_VERSION;
    CHECK_EQ(platform_op(&op), -kENOSYS);
}

TEST(platform_memory_types, "XENPF read_memtype: the CPU's variable ranges, and no more", "") {
    xen_platform_op_t op = {};
    op.cmd = XENPF_read_memtype;
    op.interface_version = XENPF_INTERFACE_VERSION;
    unsigned count = 0, used = 0;
    for (; count < 255; ++count) {
        op.u.read_memtype.reg = count;
        const long status = platform_op(&op);
        if (status == -kEINVAL) break;
        CHECK_EQ(status, 0);
        const auto& range = op.u.read_memtype;
        CHECK(range.type <= 6);
        if (!range.nr_mfns) continue;
        ++used;
        CHECK_EQ(range.nr_mfns & (range.nr_mfns - 1), 0);
        CHECK_EQ(range.mfn & (range.nr_mfns - 1), 0);
        // QEMU's firmware: RAM is write-back by default, the hole below 4 GiB is not cached.
        CHECK_EQ(range.type, 0);
        CHECK(range.mfn >= 0x80000 && range.mfn + range.nr_mfns <= 0x100000);
    }
    CHECK_EQ(count, 8);
    CHECK(used >= 1);
}

TEST(platform_efi_absent, "XENPF efi_runtime_call, firmware_info: this machine has a BIOS", "") {
    xen_platform_op_t op = {};
    op.cmd = XENPF_efi_runtime_call;
    op.interface_version = XENPF_INTERFACE_VERSION;
    op.u.efi_runtime_call.function = XEN_EFI_get_time;
    CHECK_EQ(platform_op(&op), -kENOSYS);
    op.cmd = XENPF_firmware_info;
    for (uint32_t index = 0; index < 8; ++index) {
        op.u.firmware_info.type = XEN_FW_EFI_INFO;
        op.u.firmware_info.index = index;
        CHECK_EQ(platform_op(&op), -kENOSYS);
    }
}

TEST(platform_frequencies_refused, "XENPF change_freq, getidletime: not Domain 0's to govern", "") {
    for (const uint32_t cmd : {XENPF_change_freq, XENPF_getidletime}) {
        xen_platform_op_t op = {};
        op.cmd = cmd;
        op.interface_version = XENPF_INTERFACE_VERSION;
        CHECK_EQ(platform_op(&op), -kENOSYS);
    }
}

TEST(platform_symbols, "XENPF get_symbol: one after the other, up to the end; beyond; bad buffers",
     "") {
    static char name[256];
    xen_platform_op_t op = {};
    op.cmd = XENPF_get_symbol;
    op.interface_version = XENPF_INTERFACE_VERSION;
    auto& symbol = op.u.symdata;
    set_xen_guest_handle(symbol.name, name);
    uint64_t last = 0;
    bool named = false;
    for (uint32_t number = 0;; ++number) {
        CHECK(number < 1'000'000);
        symbol.symnum = number;
        symbol.namelen = sizeof name;
        CHECK_EQ(platform_op(&op), 0);
        if (symbol.symnum == number) break;  // the end
        CHECK_EQ(symbol.symnum, number + 1);
        CHECK(symbol.namelen > 1 && symbol.namelen <= sizeof name);
        CHECK(name[0] != 0 && name[symbol.namelen - 1] == 0);
        CHECK(symbol.address >= last && symbol.address >> 47 == 0x1ffff);
        last = symbol.address;
        constexpr size_t kOwn = sizeof "do_platform_op" - 1;  // ours has a namespace in front
        const size_t length = symbol.namelen - 1;
        named |= length >= kOwn && !strncmp(name + length - kOwn, "do_platform_op", kOwn);
    }
    CHECK(named);
    CHECK(symbol.symnum > 100);
    CHECK_EQ(name[0], 0);
    ++symbol.symnum;
    CHECK_EQ(platform_op(&op), -kERANGE);

    symbol.symnum = 0;
    symbol.namelen = 2;  // as much of it as there is room for, and how long it is
    name[0] = name[2] = 77;
    CHECK_EQ(platform_op(&op), 0);
    CHECK(symbol.namelen > 2);
    CHECK(name[0] != 77 && name[2] == 77);
    symbol.symnum = 0;
    set_xen_guest_handle(symbol.name, reinterpret_cast<char*>(0x1000));
    CHECK_EQ(platform_op(&op), -kEFAULT);
}

TEST(machine_check_cpus, "mca: XEN_MC_physcpuinfo, and no record to fetch; bad calls refused", "") {
    xen_mc_t op = {};
    op.cmd = XEN_MC_physcpuinfo;
    op.interface_version = XEN_MCA_INTERFACE_VERSION;
    CHECK_EQ(machine_check_op(&op), 0);
    CHECK_EQ(op.u.mc_physcpuinfo.ncpus, 1);
    static xen_mc_logical_cpu_t cpus[2];
    cpus[1].mc_ncores = 77;
    op.u.mc_physcpuinfo.ncpus = 2;
    set_xen_guest_handle(op.u.mc_physcpuinfo.info, cpus);
    CHECK_EQ(machine_check_op(&op), 0);
    CHECK_EQ(op.u.mc_physcpuinfo.ncpus, 1);
    uint32_t a = 1, b, c = 0, d;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    CHECK_EQ(cpus[0].mc_step, a & 0xf);
    CHECK_EQ(cpus[0].mc_apicid, b >> 24);
    CHECK_EQ(cpus[1].mc_ncores, 77);
    op.u.mc_physcpuinfo.ncpus = 0;
    CHECK_EQ(machine_check_op(&op), -kEINVAL);

    static mc_info_t record;
    op.cmd = XEN_MC_fetch;
    op.u.mc_fetch.flags = XEN_MC_NONURGENT;
    set_xen_guest_handle(op.u.mc_fetch.data, &record);
    CHECK_EQ(machine_check_op(&op), 0);
    CHECK_EQ(op.u.mc_fetch.flags, XEN_MC_NODATA);
    op.u.mc_fetch.flags = XEN_MC_NONURGENT | XEN_MC_URGENT;
    CHECK_EQ(machine_check_op(&op), -kEINVAL);
    op.cmd = 99;
    CHECK_EQ(machine_check_op(&op), -kEINVAL);
    op.interface_version = 1;
    CHECK_EQ(machine_check_op(&op), -kEACCES);
    CHECK_EQ(machine_check_op(reinterpret_cast<xen_mc_t*>(0x1000)), -kEFAULT);
}

TEST(platform_settime, "XENPF_settime64: the wall clock in shared_info moves", "") {
    const uint32_t version = shared_info().wc_version;
    xen_platform_op_t op = {};
    op.cmd = XENPF_settime64;
    op.interface_version = XENPF_INTERFACE_VERSION;
    op.u.settime64.secs = 2'000'000'000;
    op.u.settime64.system_time = system_time();
    CHECK_EQ(platform_op(&op), 0);
    compiler_barrier();
    CHECK(shared_info().wc_version != version);
    CHECK_EQ(shared_info().wc_version & 1, 0);
    const uint64_t now = shared_info().wc_sec + system_time() / 1'000'000'000;
    CHECK(now >= 1'999'999'999 && now <= 2'000'000'002);
}

TEST(physdev_interrupts, "PHYSDEVOP setup_gsi, map_pirq, irq_status_query, eoi, unmap_pirq", "") {
    physdev_setup_gsi_t gsi = {.gsi = 11, .triggering = 1, .polarity = 1};
    CHECK(physdev_op(PHYSDEVOP_setup_gsi, &gsi) >= 0 ||
          physdev_op(PHYSDEVOP_setup_gsi, &gsi) == -kEEXIST);
    physdev_map_pirq_t map = {
        .domid = DOMID_SELF, .type = MAP_PIRQ_TYPE_GSI, .index = 11, .pirq = 11};
    CHECK_EQ(physdev_op(PHYSDEVOP_map_pirq, &map), 0);
    CHECK_EQ(map.pirq, 11);
    physdev_irq_status_query_t query = {.irq = 11};
    CHECK_EQ(physdev_op(PHYSDEVOP_irq_status_query, &query), 0);
    physdev_eoi_t eoi = {.irq = 11};
    CHECK_EQ(physdev_op(PHYSDEVOP_eoi, &eoi), 0);
    eoi.irq = 100000;
    CHECK_EQ(physdev_op(PHYSDEVOP_eoi, &eoi), -kEINVAL);
    query.irq = 100000;
    CHECK_EQ(physdev_op(PHYSDEVOP_irq_status_query, &query), -kEINVAL);
    physdev_unmap_pirq_t unmap = {.domid = DOMID_SELF, .pirq = 11};
    CHECK_EQ(physdev_op(PHYSDEVOP_unmap_pirq, &unmap), 0);
    map = {.domid = DOMID_SELF, .type = MAP_PIRQ_TYPE_GSI, .index = 100000, .pirq = -1};
    CHECK(physdev_op(PHYSDEVOP_map_pirq, &map) < 0);
    CHECK_EQ(physdev_op(999, &map), -kENOSYS);
}

TEST(physdev_eoi_page, "PHYSDEVOP_pirq_eoi_gmfn_v2: the page of EOI bits is taken once",
     "own-boot") {
    auto* page = alloc_page_as<uint64_t>();
    physdev_pirq_eoi_gmfn_t op = {.gmfn = mfn_of(page)};
    CHECK_EQ(physdev_op(PHYSDEVOP_pirq_eoi_gmfn_v2, &op), 0);
    CHECK_EQ(physdev_op(PHYSDEVOP_pirq_eoi_gmfn_v2, &op), -kEBUSY);
}

TEST(physdev_apic, "PHYSDEVOP_apic_read of the IO-APIC's id and version", "") {
    physdev_apic_t op = {.apic_physbase = 0xfec00000, .reg = 1};
    CHECK_EQ(physdev_op(PHYSDEVOP_apic_read, &op), 0);
    CHECK_EQ(op.value >> 16 & 0xff, 23);
    op.apic_physbase = 0x1234;
    CHECK_EQ(physdev_op(PHYSDEVOP_apic_read, &op), -kEINVAL);
}

TEST(flask_absent, "xsm_op of a hypervisor without Flask: -ENOSYS, as the tools expect", "") {
    CHECK_EQ(hypercall(__HYPERVISOR_xsm_op, 0), -kENOSYS);
}

}  // namespace guest
