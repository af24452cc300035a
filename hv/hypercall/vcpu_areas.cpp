#include "hv/hypercall/vcpu_areas.hpp"

#include <cstring>

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "arch/time.hpp"
#include "hv/domain/domain.hpp"
#include "hv/event/event.hpp"
#include "hv/memory/page.hpp"
#include "hv/sched/sched.hpp"

namespace hv {
namespace {

Result<> move_vcpu_info(Vcpu& vcpu, Mfn mfn, uint32_t offset) {
    if (offset > kPageSize - sizeof(vcpu_info) || offset % alignof(vcpu_info)) return Errno::kENXIO;
    if (vcpu.info_mfn != kInvalidMfn) return Errno::kEINVAL;
    if (&vcpu != &arch::current() && !(vcpu.pause_flags.load() & pause::kDown))
        return Errno::kEINVAL;
    auto page = TRY(WritablePageRef::take(mfn, vcpu.domain->id));

    auto* info = reinterpret_cast<vcpu_info*>(arch::mfn_to_virt<char>(mfn) + offset);
    if (has_vcpu_info(vcpu)) {
        memcpy(info, vcpu.info.load(), sizeof(*info));
    } else {
        memset(info, 0, sizeof(*info));
        info->evtchn_upcall_mask = 1;
    }
    vcpu.info_mfn = mfn;
    vcpu.info.store(info);
    static_cast<void>(page.release());  // held until the domain dies (release_vcpu_info())
    // What was raised in the old place while it was copied must not be lost: the guest looks at
    // every word once more.
    event::mark_all_pending(vcpu);
    return {};
}

void write_time_now(Vcpu& vcpu) {
    vcpu.arch.host_time_version = 0;
    arch::update_vcpu_time(vcpu);
}

}  // namespace

bool has_vcpu_info(const Vcpu& vcpu) {
    return vcpu.id.raw() < XEN_LEGACY_MAX_VCPUS || vcpu.info_mfn != kInvalidMfn;
}

Result<> register_vcpu_info(Vcpu& vcpu, GuestIn<vcpu_register_vcpu_info> arg) {
    const auto request = TRY(arg.load());
    {
        LockGuard guard(vcpu.domain->life_lock);
        // A dying domain's are just being taken away from it.
        if (vcpu.domain->dying.load() != Dying::kAlive) return Errno::kEINVAL;
        TRY(move_vcpu_info(vcpu, Mfn{request.mfn}, request.offset));
    }
    write_time_now(vcpu);
    return {};
}

Result<> register_runstate_area(Vcpu& vcpu, GuestIn<vcpu_register_runstate_memory_area> arg) {
    const auto request = TRY(arg.load());
    // Null ends it, as with the time area.
    if (request.addr.p)
        TRY(GuestOut<vcpu_runstate_info>(request.addr.p).store(sched::runstate_of(vcpu)));
    vcpu.runstate_guest = request.addr.p;
    return {};
}

Result<> register_time_area(Vcpu& vcpu, GuestIn<vcpu_register_time_memory_area> arg) {
    const auto request = TRY(arg.load());
    // Whether it can be written is seen now, while somebody can still be told.
    const GuestInOut<vcpu_time_info> area(request.addr.p);
    if (!area.is_null()) TRY(area.store(TRY(area.load())));
    vcpu.time_guest = request.addr.p;
    write_time_now(vcpu);
    return {};
}

}  // namespace hv
