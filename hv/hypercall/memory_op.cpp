// memory_op: which handler an operation has (<xen/memory.h>).
#include "hv/hypercall/memory_op.hpp"

#include <xen/xen.h>

#include <xen/memory.h>

#include "hv/hypercall/handlers.hpp"

namespace hv {

namespace {

constexpr unsigned kExtentShift =
    6;  // MEMOP_EXTENT_SHIFT: the command's bits below are the operation
constexpr uint64_t kOperationMask = (uint64_t{1} << kExtentShift) - 1;

struct Row {
    uint32_t op;
    bool continued;  ///< may come with progress; others then say -EINVAL
    memory_op::Handler handler;
};

constexpr Row kRows[] = {
    {XENMEM_increase_reservation, true, memory_op::increase_reservation},
    {XENMEM_decrease_reservation, true, memory_op::decrease_reservation},
    {XENMEM_populate_physmap, true, memory_op::populate_physmap},
    {XENMEM_exchange, false, memory_op::exchange},
    {XENMEM_maximum_ram_page, false, memory_op::maximum_ram_page},
    {XENMEM_current_reservation, false, memory_op::current_reservation},
    {XENMEM_maximum_reservation, false, memory_op::maximum_reservation},
    {XENMEM_maximum_gpfn, false, memory_op::maximum_gpfn},
    {XENMEM_add_to_physmap, true, memory_op::add_to_physmap},
    {XENMEM_add_to_physmap_batch, true, memory_op::add_to_physmap_batch},
    {XENMEM_remove_from_physmap, false, memory_op::remove_from_physmap},
    {XENMEM_memory_map, false, memory_op::memory_map},
    {XENMEM_set_memory_map, false, memory_op::set_memory_map},
    {XENMEM_machine_memory_map, false, memory_op::machine_memory_map},
    {XENMEM_machphys_mapping, false, memory_op::machphys_mapping},
    {XENMEM_machphys_mfn_list, false, memory_op::machphys_mfn_list},
    {XENMEM_machphys_compat_mfn_list, false, memory_op::machphys_compat_mfn_list},
    {XENMEM_claim_pages, false, memory_op::claim_pages},
    {XENMEM_get_vnumainfo, false, memory_op::get_vnumainfo},
    {XENMEM_reserved_device_memory_map, false, memory_op::reserved_device_memory_map},
    {XENMEM_acquire_resource, true, memory_op::acquire_resource},
    {XENMEM_set_pod_target, false, memory_op::pod_target},
    {XENMEM_get_pod_target, false, memory_op::pod_target},
};

}  // namespace

Outcome do_memory_op(uint64_t command, uint64_t address, uint64_t, uint64_t, uint64_t) {
    const uint64_t op = command & kOperationMask;
    const uint64_t start = command >> kExtentShift;
    for (const Row& row : kRows) {
        if (row.op != op) continue;
        if (start && !row.continued) return Errno::kEINVAL;
        return row.handler(address, start);
    }
    return Errno::kENOSYS;
}

}  // namespace hv
