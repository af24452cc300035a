// HYPERVISOR_mca: what Domain 0's machine-check driver asks (<xen/arch-x86/xen-mca.h>). A machine
// check is a panic here, so there is never a record to fetch; the CPUs are described.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include <xen/xen.h>
// after xen.h, whose types it uses
#include <xen/arch-x86/xen-mca.h>

#include "arch/cpu.hpp"
#include "arch/topology.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/memory/heap.hpp"
#include "hv/policy/policy.hpp"
#include "hv/x86/boot/smp.hpp"
#include "hv/x86/cpu/native.hpp"

namespace hv {
namespace {

constexpr uint32_t kBrandLeaf = 0x80000002;  // and the two behind it: 48 characters

/// Linux's numbers for makers, as the ABI passes them on.
uint32_t vendor_number(const char* id) {
    constexpr uint32_t kIntel = 0, kAmd = 2, kUnknown = 0xff;
    if (memcmp(id, "GenuineIntel", 12) == 0) return kIntel;
    return memcmp(id, "AuthenticAMD", 12) == 0 ? kAmd : kUnknown;
}

void describe_maker(xen_mc_logical_cpu_t& cpu) {
    const auto leaf0 = native::cpuid(0);
    const uint32_t vendor[3] = {leaf0.b, leaf0.d, leaf0.c};
    memcpy(cpu.mc_vendorid, vendor, sizeof vendor);
    cpu.mc_vendor = vendor_number(cpu.mc_vendorid);
    cpu.mc_cpuid_level = static_cast<int32_t>(leaf0.a);
    if (native::cpuid(0x80000000).a < kBrandLeaf + 2) return;
    for (uint32_t i = 0; i < 3; ++i) {
        const auto leaf = native::cpuid(kBrandLeaf + i);
        memcpy(cpu.mc_brandid + i * sizeof leaf, &leaf, sizeof leaf);
    }
}

/// CPUID function 1 and 0x80000001 (AMD64 manual, volume 3, appendix E.3.2 and E.4.2).
void describe_model(xen_mc_logical_cpu_t& cpu) {
    const auto leaf = native::cpuid(1);
    cpu.mc_family = (leaf.a >> 8) & 0xf;
    cpu.mc_model = (leaf.a >> 4) & 0xf;
    cpu.mc_step = leaf.a & 0xf;
    if (cpu.mc_family == 0xf) cpu.mc_family += (leaf.a >> 20) & 0xff;
    if (cpu.mc_family >= 6) cpu.mc_model |= (leaf.a >> 12) & 0xf0;
    cpu.mc_cpu_caps[MC_CAPS_STD_EDX] = leaf.d;
    cpu.mc_cpu_caps[MC_CAPS_STD_ECX] = leaf.c;
    const auto extended = native::cpuid(0x80000001);
    cpu.mc_cpu_caps[MC_CAPS_AMD_EDX] = extended.d;
    cpu.mc_cpu_caps[MC_CAPS_AMD_ECX] = extended.c;
    cpu.mc_cache_alignment = ((leaf.b >> 8) & 0xff) * 8;
}

/// All CPUs are alike, so this one tells what has no number of its own.
void describe(CpuId number, xen_mc_logical_cpu_t& cpu) {
    const arch::CpuPlace place = arch::place_of(number);
    cpu = {};
    cpu.mc_cpunr = number;
    cpu.mc_chipid = place.package;
    cpu.mc_coreid = static_cast<uint16_t>(place.core);
    cpu.mc_apicid = boot::cpu_names(number).apic_id;
    cpu.mc_ncores = cpu.mc_ncores_active = cpu.mc_nthreads = 1;
    describe_maker(cpu);
    describe_model(cpu);
}

Result<> physical_cpus(xen_mc_physcpuinfo_t& op) {
    const CpuMask online = arch::online_cpus();
    const auto count = static_cast<uint32_t>(online.count());
    const GuestOut<xen_mc_logical_cpu_t> list(GuestAddress(op.info).raw());
    if (list.is_null()) {
        op.ncpus = count;
        return {};
    }
    if (op.ncpus == 0) return Errno::kEINVAL;
    op.ncpus = std::min(op.ncpus, count);
    heap::Owned<xen_mc_logical_cpu_t> cpu(heap::create<xen_mc_logical_cpu_t>());
    if (!cpu) return Errno::kENOMEM;
    size_t number = online.first();
    for (uint32_t i = 0; i < op.ncpus; ++i, number = online.next(number + 1)) {
        describe(static_cast<CpuId>(number), *cpu);
        TRY(list.store(*cpu, i));
    }
    return {};
}

/// Asked for a record: there is none. An acknowledgement has nothing to refer to, which does no
/// harm.
Result<> fetch(xen_mc_fetch_t& op) {
    constexpr uint32_t kQueues = XEN_MC_NONURGENT | XEN_MC_URGENT;
    const uint32_t queue = op.flags & ~uint32_t{XEN_MC_ACK};
    if ((queue & ~kQueues) || queue == 0 || queue == kQueues) return Errno::kEINVAL;
    if (op.flags & XEN_MC_ACK) return {};
    if (GuestAddress(op.data).is_null()) return Errno::kEINVAL;
    op.flags = XEN_MC_NODATA;
    op.fetch_id = 0;
    return {};
}

}  // namespace

Outcome do_mca(uint64_t address, uint64_t, uint64_t, uint64_t, uint64_t) {
    TRY(policy::check(policy::Op::kControlHost, *arch::current().domain));
    const GuestInOut<xen_mc_t> guest(address);
    auto op = TRY(guest.load());
    if (op.interface_version != XEN_MCA_INTERFACE_VERSION) return Errno::kEACCES;
    switch (op.cmd) {
        case XEN_MC_fetch:
            TRY(fetch(op.u.mc_fetch));
            return guest.store(op);
        case XEN_MC_physcpuinfo:
            TRY(physical_cpus(op.u.mc_physcpuinfo));
            return guest.store(op);
        case XEN_MC_msrinject:
        case XEN_MC_mceinject:
        case XEN_MC_inject_v2:
            return Errno::kEOPNOTSUPP;  // for testing a driver that does not exist here
        default:
            return Errno::kEINVAL;
    }
}

}  // namespace hv
