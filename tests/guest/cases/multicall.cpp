// multicall: a list of hypercalls in one entry.
#include "memory.hpp"
#include "platform.hpp"
#include "test.hpp"

namespace guest {

TEST(multicall_mixed_results, "multicall: each entry keeps its own result, errors do not stop it",
     "") {
    multicall_entry_t list[4] = {};
    list[0] = {.op = __HYPERVISOR_xen_version, .args = {XENVER_version}};
    list[1] = {.op = 55, .result = 77};
    list[2] = {.op = __HYPERVISOR_xen_version, .args = {XENVER_capabilities, 0x1000}};
    list[3] = {.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}};
    CHECK_EQ(multicall(list, 4), 0);
    CHECK_EQ(list[0].result, 4 << 16 | 17);
    CHECK_EQ(list[1].result, -kENOSYS);
    CHECK_EQ(list[2].result, -kEFAULT);
    CHECK_EQ(list[3].result, kPageSize);
}

TEST(multicall_order, "multicall: page-table updates take effect in the order of the list", "") {
    const Window window = open_window();
    auto* a = alloc_page_as<uint64_t>();
    auto* b = alloc_page_as<uint64_t>();
    *a = 0xaaaa;
    *b = 0xbbbb;
    multicall_entry_t list[3] = {};
    for (unsigned i = 0; i < 3; ++i) {
        list[i].op = __HYPERVISOR_update_va_mapping;
        list[i].args[0] = window.va(7);
        list[i].args[1] = pte(mfn_of(i == 1 ? b : a), kDataFlags);
        list[i].args[2] = UVMF_INVLPG;
    }
    CHECK_EQ(multicall(list, 2), 0);
    CHECK_EQ(*window.at(7), 0xbbbb);
    CHECK_EQ(multicall(list, 3), 0);
    CHECK_EQ(*window.at(7), 0xaaaa);
}

TEST(multicall_bad_list, "multicall: an empty list, an unmapped one, one that ends unmapped", "") {
    CHECK_EQ(multicall(nullptr, 0), 0);
    CHECK_EQ(hypercall(__HYPERVISOR_multicall, 0x1000, 1), -kEFAULT);
    // Of a list that runs into an unmapped page, the mapped entries are done.
    char* pages = static_cast<char*>(alloc_pages(2));
    auto* last = reinterpret_cast<multicall_entry_t*>(pages + kPageSize) - 1;
    *last = {.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}};
    remap(pages + kPageSize, 0);
    CHECK_EQ(multicall(last, 2), -kEFAULT);
    CHECK_EQ(last->result, kPageSize);
}

TEST(multicall_long, "multicall: a list of 500 entries survives preemption checks", "") {
    auto* list = static_cast<multicall_entry_t*>(alloc_pages(8));
    for (unsigned i = 0; i < 500; ++i)
        list[i] = {.op = __HYPERVISOR_xen_version, .args = {XENVER_version}};
    CHECK_EQ(multicall(list, 500), 0);
    for (unsigned i = 0; i < 500; ++i) CHECK_EQ(list[i].result, 4 << 16 | 17);
}

}  // namespace guest
