// domctl: what a debugger in Domain 0 does to a guest (gdbsx): stop it at its breakpoints, stop
// single vCPUs, read and write its memory by its own addresses.
#include <algorithm>

#include "arch/guest_debug.hpp"
#include "hv/hypercall/domctl.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/sched/sched.hpp"

namespace hv::domctl {

namespace {

Result<Vcpu*> vcpu_of_paused(Call& call) {
    if (!call.domain->controller_pauses.load()) return Errno::kEBUSY;
    Vcpu* vcpu = call.domain->vcpu(call.op.u.gdbsx_pauseunp_vcpu.vcpu);
    if (!vcpu) return Errno::kEINVAL;
    return vcpu;
}

/// One piece within a page of the guest's.
Result<> copy_piece(Domain& domain, uint64_t guest, GuestAddress mine, size_t bytes, bool write) {
    uint8_t piece[256];
    if (write) {
        TRY(GuestIn<uint8_t>(mine.raw()).load_many({piece, bytes}));
        return arch::poke_guest(domain, guest, std::span(piece).first(bytes));
    }
    TRY(arch::peek_guest(domain, guest, std::span(piece).first(bytes)));
    return GuestOut<uint8_t>(mine.raw()).store_many({piece, bytes});
}

constexpr uint32_t kPiece = 256;  // pages are a multiple of it: none is crossed
static_assert(kPageSize % kPiece == 0);

}  // namespace

Outcome setdebugging(Call& call) {
    if (is_self(*call.domain)) return Errno::kEINVAL;
    // Paused meanwhile: no vCPU takes a breakpoint half before and half after.
    sched::domain_pause(*call.domain);
    call.domain->debugger_attached = call.op.u.setdebugging.enable != 0;
    sched::domain_unpause(*call.domain);
    return Outcome{};
}

Outcome gdbsx_pausevcpu(Call& call) {
    constexpr uint32_t kMost = 255;  // as Xen
    Vcpu* vcpu = TRY(vcpu_of_paused(call));
    if (vcpu->controller_pauses >= kMost) return Errno::kE2BIG;
    ++vcpu->controller_pauses;
    sched::vcpu_pause(*vcpu);
    return Outcome{};
}

Outcome gdbsx_unpausevcpu(Call& call) {
    Vcpu* vcpu = TRY(vcpu_of_paused(call));
    if (!vcpu->controller_pauses) return Errno::kEINVAL;
    --vcpu->controller_pauses;
    sched::vcpu_unpause(*vcpu);
    return Outcome{};
}

/// Whether it is paused, and the first vCPU that met a breakpoint; each is told of once.
Outcome gdbsx_domstatus(Call& call) {
    auto& status = call.op.u.gdbsx_domstatus;
    status.vcpu_id = ~uint32_t{0};
    status.paused = call.domain->controller_pauses.load() > 0;
    if (!status.paused) return Outcome{};
    for (uint32_t n = 0; n < call.domain->max_vcpus; ++n) {
        Vcpu* vcpu = call.domain->vcpu(n);
        const uint32_t event = vcpu ? vcpu->debugger_event.exchange(0) : 0;
        if (!event) continue;
        status.vcpu_id = n;
        status.vcpu_ev = event;
        break;
    }
    return Outcome{};
}

Outcome gdbsx_guestmemio(Call& call) {
    auto& io = call.op.u.gdbsx_guest_memio;
    constexpr uint32_t kMost = 64 * kPageSize;  // what a tool asks for in one call, and more
    if (io.len > kMost) return Errno::kE2BIG;
    if (io.pgd3val) return Errno::kEOPNOTSUPP;  // an entry of a 32-bit guest's tables
    for (io.remain = io.len; io.remain;) {
        const uint32_t done = io.len - io.remain;
        const uint64_t guest = io.gva + done;
        const auto in_piece = static_cast<uint32_t>(kPiece - guest % kPiece);
        const uint32_t bytes = std::min(io.remain, in_piece);
        const GuestAddress mine(GuestAddress(io.uva).at(done, 1));
        if (auto copied = copy_piece(*call.domain, guest, mine, bytes, io.gwr); !copied)
            return Errno::kEFAULT;
        io.remain -= bytes;
    }
    return Outcome{};
}

}  // namespace hv::domctl
