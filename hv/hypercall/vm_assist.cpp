// vm_assist: a guest chooses among behaviours of the ABI (<xen/xen.h>, VMASST_*).
#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/handlers.hpp"

namespace hv {

namespace {

constexpr uint64_t bit(unsigned type) {
    return uint64_t{1} << type;
}

/// What a 64-bit PV guest may choose.
constexpr uint64_t kKnown = bit(VMASST_TYPE_4gb_segments) | bit(VMASST_TYPE_4gb_segments_notify) |
                            bit(VMASST_TYPE_writable_pagetables) |
                            bit(VMASST_TYPE_pae_extended_cr3) |
                            bit(VMASST_TYPE_architectural_iopl) |
                            bit(VMASST_TYPE_runstate_update_flag) | bit(VMASST_TYPE_m2p_strict);

}  // namespace

Outcome do_vm_assist(uint64_t command, uint64_t type, uint64_t, uint64_t, uint64_t) {
    if (type >= 64 || !(kKnown & bit(static_cast<unsigned>(type)))) return Errno::kEINVAL;
    auto& assists = arch::current().domain->vm_assist;
    switch (static_cast<uint32_t>(command)) {
        case VMASST_CMD_enable:
            assists.fetch_or(bit(static_cast<unsigned>(type)));
            return Outcome{};
        case VMASST_CMD_disable:
            assists.fetch_and(~bit(static_cast<unsigned>(type)));
            return Outcome{};
    }
    return Errno::kENOSYS;
}

}  // namespace hv
