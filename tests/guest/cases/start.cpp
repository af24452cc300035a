// The state in which a PV domain's first instruction finds the world (<xen/xen.h>, "Start-of-day
// memory layout").
#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

TEST(start_info_contents, "start_info: magic, size, flags, what Domain 0 is told", "") {
    CHECK(!strncmp(start_info->magic, "xen-3.0-x86_64", 14));
    CHECK_EQ(start_info->nr_pages, 128 << 8);  // dom0_mem=128M
    CHECK(start_info->flags & SIF_PRIVILEGED);
    CHECK(start_info->flags & SIF_INITDOMAIN);
    CHECK(!(start_info->flags & (SIF_MULTIBOOT_MOD | SIF_MOD_START_PFN)));
    CHECK_EQ(start_info->store_mfn, 0);
    CHECK_EQ(start_info->store_evtchn, 0);
    CHECK_EQ(start_info->mod_start, 0);
    CHECK_EQ(start_info->mod_len, 0);
    CHECK_EQ(start_info->shared_info & (kPageSize - 1), 0);
    CHECK(option("tests") || option("mask"));
}

TEST(start_registers, "entry: rsi, rsp, selectors, upcalls masked", "") {
    CHECK_EQ(boot_state.rsi, addr(start_info));
    CHECK_EQ(boot_state.cs & 0xfffc, FLAT_KERNEL_CS & 0xfffc);
    CHECK_EQ(boot_state.ss & 0xfffc, FLAT_KERNEL_SS & 0xfffc);
    CHECK_EQ(boot_state.ds & 0xfffc, 0);
    CHECK_EQ(boot_state.fs & 0xfffc, 0);
    CHECK_EQ(boot_state.gs & 0xfffc, 0);
    CHECK(boot_state.rflags & 0x200);  // the real IF is always set; the virtual one is the mask
    CHECK(!(boot_state.rflags & 0x400));
    // The boot stack is the page behind the page tables, and the pointer is at its end.
    const Arg tables_end = start_info->pt_base + start_info->nr_pt_frames * kPageSize;
    CHECK_EQ(boot_state.rsp, tables_end + kPageSize);
}

TEST(start_layout_order, "initial mapping: image, p2m, start_info, tables, stack, 512 KiB more",
     "") {
    CHECK(start_info->mfn_list > addr(start_info->cmd_line) ||
          start_info->mfn_list < addr(start_info));
    CHECK_EQ(start_info->pt_base & (kPageSize - 1), 0);
    CHECK(addr(start_info) > start_info->mfn_list);
    CHECK(start_info->pt_base > addr(start_info));
    const Arg stack_end = start_info->pt_base + (start_info->nr_pt_frames + 1) * kPageSize;
    // The mapping ends on a 4 MiB boundary with at least 512 KiB behind the stack.
    for (Arg va = stack_end; va < stack_end + (512 << 10); va += kPageSize) {
        const uint64_t* entry = entry_of(va);
        CHECK(entry && (*entry & kPresent));
    }
    CHECK_EQ(start_info->nr_pt_frames, [] {
        unsigned tables = 0;
        for (Arg pfn = 0; pfn < start_info->nr_pages; ++pfn) {
            const Arg va = addr(va_of_pfn(pfn));
            if (va >= start_info->pt_base && entry_of(va) && (*entry_of(va) & kPresent) &&
                !(*entry_of(va) & kWrite))
                ++tables;
        }
        return tables;
    }());
}

TEST(start_page_tables_read_only, "initial page tables: read-only mapped, one table a level", "") {
    const uint64_t cr3_frame = mfn_of(boot_l4());
    CHECK_EQ(m2p(cr3_frame), pfn_of(boot_l4()));
    for (int level = 1; level <= 4; ++level) {
        const uint64_t* entry = entry_of(addr(boot_l4()), level);
        CHECK(entry);
        const uint64_t* own = entry_of(addr(entry));
        CHECK(own && (*own & kPresent));
        CHECK(!(*own & kWrite));
        CHECK(pfn_of(entry) >= pfn_of(boot_l4()));
        CHECK(pfn_of(entry) < pfn_of(boot_l4()) + start_info->nr_pt_frames);
    }
    // The L4 is typed and pinned: unpinning it works once the base pointer keeps it alive.
    CHECK_EQ(unpin(boot_l4()), 0);
    CHECK_EQ(mmuext(MMUEXT_PIN_L4_TABLE, cr3_frame), 0);
}

TEST(start_p2m_m2p_agree, "mfn_list and the machine-to-phys table for every page", "") {
    for (uint64_t pfn = 0; pfn < start_info->nr_pages; ++pfn)
        if (m2p(p2m()[pfn]) != pfn)
            fail("pfn 0x%lx: mfn 0x%lx maps back to 0x%lx", pfn, p2m()[pfn], m2p(p2m()[pfn]));
}

TEST(start_boot_mapping_identity, "initial mapping: virt_base + pfn maps the frame of pfn",
     "own-boot") {
    const uint64_t last = pfn_of(boot_l4()) + start_info->nr_pt_frames;
    for (uint64_t pfn = pfn_of(hypercall_page); pfn < last; ++pfn) {
        const uint64_t* entry = entry_of(addr(va_of_pfn(pfn)));
        CHECK(entry);
        if (va_of_pfn(pfn) == &shared_info()) continue;  // remapped by the framework
        CHECK_EQ(mfn_of_pte(*entry), p2m()[pfn]);
    }
}

TEST(start_shared_info_mapped, "shared_info frame: time of vCPU 0 runs, no event pending", "") {
    CHECK(vcpu_info().time.version != 0);
    CHECK_EQ(vcpu_info().time.version & 1, 0);
    CHECK(vcpu_info().time.tsc_to_system_mul != 0);
    CHECK(shared_info().wc_sec != 0);
    for (unsigned vcpu = 1; vcpu < XEN_LEGACY_MAX_VCPUS; ++vcpu)
        CHECK_EQ(shared_info().vcpu_info[vcpu].evtchn_pending_sel, 0);
}

TEST(start_bss_is_zero, "domain builder: memory behind the file's bytes is cleared", "own-boot") {
    const auto* words = static_cast<const uint64_t*>(alloc_pages(1024));
    for (unsigned i = 0; i < 1024 * kPageSize / 8; ++i)
        if (words[i]) fail("word %u is 0x%lx", i, words[i]);
}

static void check_module(const unsigned char* bytes) {
    CHECK_EQ(start_info->mod_len, 5000);
    for (unsigned i = 0; i < 5000; ++i)
        if (bytes[i] != static_cast<unsigned char>(i * 7 + 3))
            fail("byte %u of the module is 0x%x", i, bytes[i]);
}

TEST(start_module_mapped, "start_info.mod_start: the boot module in the initial mapping",
     "module") {
    CHECK(!(start_info->flags & SIF_MOD_START_PFN));
    CHECK_EQ(start_info->mod_start & (kPageSize - 1), 0);
    check_module(reinterpret_cast<const unsigned char*>(start_info->mod_start));
}

TEST(start_module_by_pfn, "note MOD_START_PFN: the boot module by frame number, not mapped",
     "module;image=linux") {
    CHECK(start_info->flags & SIF_MOD_START_PFN);
    unsigned char* copy = static_cast<unsigned char*>(alloc_pages(2));
    const Window window = open_window();
    for (unsigned i = 0; i < 2; ++i) {
        const uint64_t mfn = p2m()[start_info->mod_start + i];
        CHECK_EQ(m2p(mfn), start_info->mod_start + i);
        CHECK_EQ(window.map(i, pte(mfn, kReadOnlyFlags)), 0);
    }
    memcpy(copy, reinterpret_cast<const void*>(window.va(0)), 5000);
    check_module(copy);
}

TEST(start_p2m_elsewhere, "note INIT_P2M: the p2m list at the address that the image asks for",
     "image=linux") {
    CHECK_EQ(start_info->mfn_list, 0x8000000000);
    CHECK_EQ(start_info->nr_p2m_frames != 0, 1);
    CHECK_EQ(start_info->first_p2m_pfn < start_info->nr_pages, 1);
    for (uint64_t pfn = 0; pfn < start_info->nr_pages; ++pfn) CHECK_EQ(m2p(p2m()[pfn]), pfn);
}

TEST(hypercall_page_calls, "note HYPERCALL_PAGE: slots of 32 bytes, iret's included",
     "image=linux") {
    CHECK_EQ(call_by_page(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
    CHECK_EQ(call_by_page(55), -kENOSYS);
    CHECK_EQ(call_by_page(__HYPERVISOR_sched_op, SCHEDOP_yield), 0);
    CHECK_EQ(call_by_page(__HYPERVISOR_console_io, CONSOLEIO_read, 0), 0);
}

// What a decoder has to deal with: literals alone, runs, repeats near and far, calls for XZ's
// filter.
static constexpr unsigned kMixed = 24 << 10;
static constexpr unsigned char mixed_byte(unsigned i, unsigned random) {
    switch (i >> 9 & 3) {
        case 0:
            return static_cast<unsigned char>(random >> 16);
        case 1:
            return static_cast<unsigned char>(i >> 6);
        case 2:
            return static_cast<unsigned char>("etaoin shrdlu"[i % 13]);
        default:
            return i % 5 ? 0 : 0xe8;
    }
}
static constexpr unsigned next_random(unsigned random) {
    return random * 1664525 + 1013904223;
}
struct Mixed {
    unsigned char bytes[kMixed] = {};
};
static constexpr Mixed mixed = [] {
    Mixed made;
    for (unsigned i = 0, random = 1; i < kMixed; ++i, random = next_random(random))
        made.bytes[i] = mixed_byte(i, random);
    return made;
}();

static void check_unpacked() {
    for (unsigned i = 0, random = 1; i < kMixed; ++i, random = next_random(random)) {
        const unsigned char byte = const_cast<const volatile Mixed&>(mixed).bytes[i];
        if (byte != mixed_byte(i, random)) fail("byte %u of what was packed is 0x%x", i, byte);
    }
}

TEST(start_packed_xz, "bzImage: a kernel packed with XZ", "packed=xz") {
    check_unpacked();
}
TEST(start_packed_gzip, "bzImage: a kernel packed with gzip", "packed=gzip") {
    check_unpacked();
}
TEST(start_packed_zstd, "bzImage: a kernel packed with zstd", "packed=zstd") {
    check_unpacked();
}
TEST(start_packed_lz4, "bzImage: a kernel packed with lz4 in its legacy format", "packed=lz4") {
    check_unpacked();
}

}  // namespace guest
