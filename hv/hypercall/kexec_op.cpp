// kexec_op: another kernel in this one's place. Nothing can be loaded; that much can be asked.
#include <cstdint>

#include <xen/xen.h>

#include <xen/kexec.h>

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/policy/policy.hpp"

namespace hv {

namespace {

bool is_image_type(int type) {
    return type == KEXEC_TYPE_DEFAULT || type == KEXEC_TYPE_CRASH;
}

/// No memory is set aside for a crash kernel: its range is empty, as on Xen without `crashkernel=`.
Result<> get_range(uint64_t address) {
    const GuestInOut<xen_kexec_range> argument(address);
    auto range = TRY(argument.load());
    if (range.range != KEXEC_RANGE_MA_CRASH) return Errno::kEINVAL;
    range.start = range.size = 0;
    return argument.store(range);
}

/// 1: loaded.
Result<> status(uint64_t address) {
    const auto asked = TRY(GuestIn<xen_kexec_status>(address).load());
    return is_image_type(asked.type) ? Result<>{} : Errno::kEINVAL;
}

Result<> unload(uint64_t address) {
    const auto asked = TRY(GuestIn<xen_kexec_unload>(address).load());
    return is_image_type(asked.type) ? Result<>{} : Errno::kEINVAL;
}

Result<> execute(uint64_t address) {
    const auto asked = TRY(GuestIn<xen_kexec_exec>(address).load());
    return is_image_type(asked.type) ? Errno::kENOENT : Errno::kEINVAL;
}

}  // namespace

Outcome do_kexec_op(uint64_t command, uint64_t address, uint64_t, uint64_t, uint64_t) {
    TRY(policy::check(policy::Op::kControlHost, *arch::current().domain));
    switch (static_cast<uint32_t>(command)) {
        case KEXEC_CMD_kexec_get_range:
            return get_range(address);
        case KEXEC_CMD_kexec_status:
            return status(address);
        case KEXEC_CMD_kexec_unload:
            return unload(address);
        case KEXEC_CMD_kexec:
            return execute(address);
        case KEXEC_CMD_kexec_load:
        case KEXEC_CMD_kexec_load_v1:
        case KEXEC_CMD_kexec_unload_v1:
            return Errno::kEOPNOTSUPP;
    }
    return Errno::kENOSYS;
}

}  // namespace hv
