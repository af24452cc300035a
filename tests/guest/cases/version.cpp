// xen_version and what a caller sees of a hypercall that goes wrong.
#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {
char buffer[2048];

bool contains(const char* text, const char* part) {
    for (; *text; ++text)
        if (!strncmp(text, part, strlen(part))) return true;
    return false;
}
}  // namespace

TEST(version_number, "xen_version XENVER_version", "") {
    CHECK_EQ(xen_version(XENVER_version), 4 << 16 | 17);
}

TEST(version_strings, "xen_version extraversion, compile_info, changeset, commandline", "") {
    CHECK_EQ(xen_version(XENVER_extraversion, buffer), 0);
    CHECK(buffer[0] == '.');
    CHECK(strlen(buffer) < XEN_EXTRAVERSION_LEN);
    CHECK_EQ(xen_version(XENVER_compile_info, buffer), 0);
    CHECK(buffer[0]);
    CHECK_EQ(xen_version(XENVER_changeset, buffer), 0);
    CHECK(strlen(buffer) < XEN_CHANGESET_INFO_LEN);
    CHECK_EQ(xen_version(XENVER_commandline, buffer), 0);
    CHECK(contains(buffer, "dom0_mem=128M"));
}

TEST(version_capabilities, "xen_version capabilities, platform_parameters, pagesize", "") {
    CHECK_EQ(xen_version(XENVER_capabilities, buffer), 0);
    CHECK(contains(buffer, "xen-3.0-x86_64"));
    xen_platform_parameters_t parameters = {};
    CHECK_EQ(xen_version(XENVER_platform_parameters, &parameters), 0);
    CHECK_EQ(parameters.virt_start, HYPERVISOR_VIRT_START);
    CHECK_EQ(xen_version(XENVER_pagesize), kPageSize);
}

TEST(version_features, "xen_version get_features: the submap a PV Domain 0 gets", "") {
    xen_feature_info_t info = {.submap_idx = 0, .submap = 0};
    CHECK_EQ(xen_version(XENVER_get_features, &info), 0);
    CHECK(info.submap & 1u << XENFEAT_mmu_pt_update_preserve_ad);
    CHECK(info.submap & 1u << XENFEAT_highmem_assist);
    CHECK(info.submap & 1u << XENFEAT_gnttab_map_avail_bits);
    CHECK(info.submap & 1u << XENFEAT_dom0);
    CHECK(info.submap & 1u << XENFEAT_memory_op_vnode_supported);
    CHECK(!(info.submap & 1u << XENFEAT_writable_page_tables));
    CHECK(!(info.submap & 1u << XENFEAT_auto_translated_physmap));
    CHECK(!(info.submap & 1u << XENFEAT_supervisor_mode_kernel));
    info.submap_idx = XENFEAT_NR_SUBMAPS;
    CHECK_EQ(xen_version(XENVER_get_features, &info), -kEINVAL);
}

TEST(version_guest_handle, "xen_version guest_handle: Domain 0's is all zero", "") {
    memset(buffer, 0xff, 17);
    CHECK_EQ(xen_version(XENVER_guest_handle, buffer), 0);
    for (unsigned i = 0; i < 16; ++i) CHECK_EQ(buffer[i], 0);
    CHECK_EQ(static_cast<unsigned char>(buffer[16]), 0xff);
}

TEST(version_build_id, "xen_version build_id: size query, copy, too small a buffer", "") {
    const long size = xen_version(XENVER_build_id, nullptr);
    CHECK(size > 0 && size <= 64);
    auto* id = reinterpret_cast<xen_build_id_t*>(buffer);
    memset(buffer, 0, sizeof buffer);
    id->len = sizeof buffer - sizeof id->len;
    CHECK_EQ(xen_version(XENVER_build_id, id), size);
    unsigned bits = 0;
    for (long i = 0; i < size; ++i) bits |= buffer[sizeof id->len + i];
    CHECK(bits);
    CHECK_EQ(static_cast<unsigned char>(buffer[sizeof id->len + size]), 0);
    id->len = size - 1;
    CHECK_EQ(xen_version(XENVER_build_id, id), -kENOBUFS);
    id->len = 0;
    CHECK_EQ(xen_version(XENVER_build_id, id), -kEINVAL);
}

TEST(version_unknown, "xen_version: an unknown sub-call", "") {
    CHECK_EQ(xen_version(57), -kENOSYS);
    CHECK_EQ(xen_version(-1), -kENOSYS);
}

TEST(hypercall_unknown, "dispatch: numbers beyond the table, holes, huge ones", "") {
    CHECK_EQ(hypercall(45), -kENOSYS);
    CHECK_EQ(hypercall(63), -kENOSYS);
    CHECK_EQ(hypercall(64), -kENOSYS);
    CHECK_EQ(hypercall(0x7fffffff), -kENOSYS);
    CHECK_EQ(hypercall(~0ul), -kENOSYS);
}

TEST(hypercall_bad_pointer, "guest memory access: unmapped, hypervisor's, non-canonical", "") {
    static const Arg bad[] = {0x1000,
                              HYPERVISOR_VIRT_START + (8ul << 39),
                              HYPERVISOR_VIRT_END - 4096,
                              1ul << 62,
                              0x0000800000000000 - 4,
                              ~0ul - 3};
    for (const Arg pointer : bad) {
        CHECK_EQ(hypercall(__HYPERVISOR_xen_version, XENVER_capabilities, pointer), -kEFAULT);
        CHECK_EQ(hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_send, pointer), -kEFAULT);
    }
    CHECK_EQ(hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, 4, 0x1000), -kEFAULT);
}

TEST(hypercall_read_only_result, "guest memory access: results into a read-only page", "") {
    char* page = alloc_page_as<char>();
    make_read_only(page);
    CHECK_EQ(xen_version(XENVER_extraversion, page), -kEFAULT);
    CHECK_EQ(page[0], 0);
    make_writable(page);
}

TEST(hypercall_page_crossing_argument, "guest memory access: a structure across two pages", "") {
    char* pages = static_cast<char*>(alloc_pages(2));
    auto* whole = reinterpret_cast<xen_feature_info_t*>(pages + kPageSize - 4);
    whole->submap_idx = 0;
    CHECK_EQ(xen_version(XENVER_get_features, whole), 0);
    CHECK(whole->submap);
    // The first page stays mapped, the second goes: nothing half done is reported as success.
    const uint64_t mapped = pte(mfn_of(pages + kPageSize), kDataFlags);
    remap(pages + kPageSize, 0);
    CHECK_EQ(xen_version(XENVER_get_features, whole), -kEFAULT);
    remap(pages + kPageSize, mapped);
}

TEST(hypercall_keeps_registers, "entry and exit: callee-saved registers, flags, direction", "") {
    static uint64_t values[6];
    uint64_t flags = 0;
    asm volatile(
        "push %%rbx; push %%rbp; push %%r12; push %%r13; push %%r14; push %%r15\n"
        "mov $0x1111111111111111, %%rbx; mov $0x2222222222222222, %%rbp\n"
        "mov $0x3333333333333333, %%r12; mov $0x4444444444444444, %%r13\n"
        "mov $0x5555555555555555, %%r14; mov $0x6666666666666666, %%r15\n"
        "mov $17, %%eax; xor %%edi, %%edi; xor %%esi, %%esi; stc; syscall\n"
        "pushf; pop %%rcx\n"
        "mov %%rbx, 0(%[v]); mov %%rbp, 8(%[v]); mov %%r12, 16(%[v])\n"
        "mov %%r13, 24(%[v]); mov %%r14, 32(%[v]); mov %%r15, 40(%[v])\n"
        "pop %%r15; pop %%r14; pop %%r13; pop %%r12; pop %%rbp; pop %%rbx\n"
        : "=c"(flags)
        : [v] "d"(values)
        : "rax", "rdi", "rsi", "r8", "r9", "r10", "r11", "memory");
    for (unsigned i = 0; i < 6; ++i) CHECK_EQ(values[i], 0x1111111111111111 * (i + 1));
    CHECK(flags & 1);
    CHECK(flags & 0x200);
    CHECK(!(flags & 0x400));
}

}  // namespace guest
