// domctl: the rest of a vCPU's state, beyond vcpu_guest_context: extended registers, MSRs, entry
// points. What `xl save` keeps and `xl restore` brings back.
#include <algorithm>
#include <cstddef>

#include "arch/cpu.hpp"
#include "cpu/fpu_image.hpp"
#include "hv/hypercall/domctl.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/sched/sched.hpp"
#include "paging/entry.hpp"
#include "pv/vcpu_msrs.hpp"

namespace hv::domctl {

namespace {

/// kESRCH: no such vCPU; kEINVAL: the caller itself, which cannot be paused.
Result<Vcpu*> other_vcpu(const Call& call, uint32_t n) {
    Vcpu* vcpu = call.domain->vcpu(n);
    if (!vcpu) return Errno::kESRCH;
    if (vcpu == &arch::current()) return Errno::kEINVAL;
    return vcpu;
}

/// A vCPU that does not run, its registers in memory.
class Stopped {
  public:
    explicit Stopped(Vcpu& vcpu) : vcpu_(vcpu) {
        sched::vcpu_pause(vcpu);
        arch::sync_vcpu_state(vcpu);
    }
    ~Stopped() { sched::vcpu_unpause(vcpu_); }
    Stopped(const Stopped&) = delete;
    Stopped& operator=(const Stopped&) = delete;

  private:
    Vcpu& vcpu_;
};

/// XCR0 and what it ever was come before the image.
struct Prefix {
    uint64_t xcr0, xcr0_accum;
};

size_t whole_bytes(uint64_t components) {
    return sizeof(Prefix) + arch::fpu::image_bytes(components);
}

Result<> get_extended(Call& call) {
    auto& op = call.op.u.vcpuextstate;
    Vcpu* vcpu = TRY(other_vcpu(call, op.vcpu));
    const GuestAddress buffer(op.buffer);
    const uint64_t components = arch::fpu::image_components();
    if (buffer.is_null() || (!op.size && !op.xfeature_mask)) {
        op.xfeature_mask = components;
        op.size = whole_bytes(components);  // the most that may come
        return {};
    }
    const Stopped stopped(*vcpu);
    const Prefix prefix = {components ? vcpu->arch.xcr0 : 0, arch::fpu::image_components(*vcpu)};
    const size_t size = whole_bytes(prefix.xcr0_accum);
    if (op.size < size || op.xfeature_mask != components) return Errno::kEINVAL;
    const auto image = TRY(heap::OwnedArray<uint8_t>::create(size - sizeof prefix));
    arch::fpu::get_image(*vcpu, {image.data(), size - sizeof prefix});
    TRY(GuestOut<Prefix>(buffer.raw()).store(prefix));
    const GuestOut<uint8_t> rest(buffer.at(sizeof prefix, 1));
    TRY(rest.store_many({image.data(), size - sizeof prefix}));
    op.size = size;
    return {};
}

Result<> set_extended(Call& call) {
    const auto& op = call.op.u.vcpuextstate;
    Vcpu* vcpu = TRY(other_vcpu(call, op.vcpu));
    if (op.size < sizeof(Prefix) || op.size > whole_bytes(arch::fpu::image_components()))
        return Errno::kEINVAL;
    const GuestAddress buffer(op.buffer);
    const auto prefix = TRY(GuestIn<Prefix>(buffer.raw()).load());
    const size_t bytes = op.size - sizeof prefix;
    if (!prefix.xcr0_accum && !prefix.xcr0 && !bytes) return {};  // nothing was ever in use
    const auto image = TRY(heap::OwnedArray<uint8_t>::create(bytes));
    TRY(GuestIn<uint8_t>(buffer.at(sizeof prefix, 1)).load_many({image.data(), bytes}));
    const Stopped stopped(*vcpu);
    return arch::fpu::set_image(*vcpu, prefix.xcr0, prefix.xcr0_accum, {image.data(), bytes});
}

Result<> get_msrs(Call& call) {
    auto& op = call.op.u.vcpu_msrs;
    Vcpu* vcpu = TRY(other_vcpu(call, op.vcpu));
    const GuestOut<xen_domctl_vcpu_msr_t> into(op.msrs);
    const auto numbers = pv::state_msrs();
    if (into.is_null()) {
        op.msr_count = static_cast<uint32_t>(numbers.size());
        return {};
    }
    const Stopped stopped(*vcpu);
    uint32_t count = 0;
    for (const uint32_t number : numbers) {
        const uint64_t value = pv::state_msr(*vcpu, number);
        if (!value) continue;  // what it is from the beginning
        if (count < op.msr_count) TRY(into.store({.index = number, .value = value}, count));
        ++count;
    }
    const bool fitted = count <= op.msr_count;
    op.msr_count = count;
    return fitted ? Result<>{} : Errno::kENOBUFS;
}

Result<> set_msrs(Call& call) {
    auto& op = call.op.u.vcpu_msrs;
    Vcpu* vcpu = TRY(other_vcpu(call, op.vcpu));
    constexpr uint32_t kMost = 16;
    if (op.msr_count > kMost) return Errno::kEINVAL;
    const GuestIn<xen_domctl_vcpu_msr_t> from(op.msrs);
    const uint32_t count = op.msr_count;
    const Stopped stopped(*vcpu);
    for (op.msr_count = 0; op.msr_count < count; ++op.msr_count) {
        const auto msr = TRY(from.load(op.msr_count));
        if (msr.reserved) return Errno::kEINVAL;
        TRY(pv::set_state_msr(*vcpu, msr.index, msr.value));
    }
    return {};
}

}  // namespace

Outcome getvcpuextstate(Call& call) {
    return get_extended(call);
}
Outcome setvcpuextstate(Call& call) {
    return set_extended(call);
}
Outcome get_vcpu_msrs(Call& call) {
    return get_msrs(call);
}
/// On a failure msr_count says at which entry.
Outcome set_vcpu_msrs(Call& call) {
    return set_msrs(call);
}

Outcome get_ext_vcpucontext(Call& call) {
    auto& op = call.op.u.ext_vcpucontext;
    Vcpu* vcpu = call.domain->vcpu(op.vcpu);
    if (!vcpu || vcpu == &arch::current()) return Errno::kESRCH;
    const uint32_t n = op.vcpu;
    op = {};
    op.vcpu = n;
    op.size = sizeof op;
    // No way in by SYSENTER, no machine-check banks: both zero.
    op.syscall32_callback_eip = vcpu->arch.pv.syscall32_callback;
    op.syscall32_callback_cs = FLAT_KERNEL_CS;
    op.syscall32_disables_events = vcpu->arch.pv.syscall32_masks_events;
    return Outcome{};
}

Outcome set_ext_vcpucontext(Call& call) {
    const auto& op = call.op.u.ext_vcpucontext;
    Vcpu* vcpu = call.domain->vcpu(op.vcpu);
    if (!vcpu || is_self(*call.domain)) return Errno::kESRCH;
    constexpr size_t kBanks = offsetof(xen_domctl_ext_vcpucontext, mcg_cap);
    constexpr uint64_t kBankCount = 0xff;  // of MCG_CAP; there are none here, and none are shown
    if (op.size < kBanks || !paging::is_canonical(op.syscall32_callback_eip) ||
        !paging::is_canonical(op.sysenter_callback_eip))
        return Errno::kEINVAL;
    if (op.sysenter_callback_eip) return Errno::kEOPNOTSUPP;
    if (op.size > kBanks && op.mcg_cap & ~kBankCount) return Errno::kEPERM;
    sched::domain_pause(*call.domain);
    vcpu->arch.pv.syscall32_callback = op.syscall32_callback_eip;
    vcpu->arch.pv.syscall32_masks_events = op.syscall32_disables_events != 0;
    sched::domain_unpause(*call.domain);
    return Outcome{};
}

}  // namespace hv::domctl
