// platform_op on physical CPUs.
#include <cstring>

#include "hv/x86/acpi/platform.hpp"

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "hv/x86/boot/smp.hpp"
#include "hv/x86/cpu/mtrr.hpp"
#include "hv/x86/cpu/native.hpp"

namespace hv::acpi::platform {
namespace {

bool present(uint32_t cpu) {
    return cpu <= boot::highest_present_cpu();
}
bool online(uint32_t cpu) {
    return cpu < kMaxCpus && arch::online_cpus().test(cpu);
}

/// CPUID's family and model with their extensions (AMD64 manual, volume 3, CPUID function 1).
void decode_signature(uint32_t eax, xenpf_pcpu_version& into) {
    into.family = (eax >> 8) & 0xf;
    into.model = (eax >> 4) & 0xf;
    into.stepping = eax & 0xf;
    if (into.family == 0xf) into.family += (eax >> 20) & 0xff;
    if (into.family >= 6) into.model |= (eax >> 12) & 0xf0;
}

/// Checks one entry and, if this is the one register that may be read, reads it.
int32_t access(xenpf_resource_entry& entry) {
    constexpr uint64_t kTscMsr = 0x10;
    auto failure = [](Errno error) { return -static_cast<int32_t>(error); };
    if (entry.rsvd) return failure(Errno::kEINVAL);
    if (entry.u.cmd != XEN_RESOURCE_OP_MSR_READ && entry.u.cmd != XEN_RESOURCE_OP_MSR_WRITE)
        return failure(Errno::kEOPNOTSUPP);
    if (entry.idx >> 32) return failure(Errno::kEINVAL);
    if (entry.u.cmd != XEN_RESOURCE_OP_MSR_READ || entry.idx != kTscMsr)
        return failure(Errno::kEPERM);
    entry.val = static_cast<uint64_t>(arch::now());  // the ABI wants system time, not cycles
    return 0;
}

}  // namespace

Outcome get_cpuinfo(const Request& guest, xen_platform_op& op) {
    auto& info = op.u.pcpu_info;
    info.max_present = boot::highest_present_cpu();
    if (present(info.xen_cpuid)) {
        const boot::CpuNames names = boot::cpu_names(info.xen_cpuid);
        info.apic_id = names.apic_id;
        info.acpi_id = names.acpi_id;
        info.flags = online(info.xen_cpuid) ? XEN_PCPU_FLAGS_ONLINE : 0;
    } else {
        info.flags = XEN_PCPU_FLAGS_INVALID;
    }
    return answer(guest, op, info);
}

/// All CPUs are alike: this one's signature speaks for the one asked about.
Outcome get_cpu_version(const Request& guest, xen_platform_op& op) {
    auto& version = op.u.pcpu_version;
    version.max_present = boot::highest_present_cpu();
    version.family = version.model = version.stepping = 0;
    memset(version.vendor_id, 0, sizeof version.vendor_id);
    if (online(version.xen_cpuid)) {
        const auto leaf0 = native::cpuid(0);
        const uint32_t vendor[3] = {leaf0.b, leaf0.d, leaf0.c};
        memcpy(version.vendor_id, vendor, sizeof version.vendor_id);
        decode_signature(native::cpuid(1).a, version);
    }
    return answer(guest, op, version);
}

Outcome read_memtype(const Request& guest, xen_platform_op& op) {
    auto& told = op.u.read_memtype;
    const auto range = TRY(cpu::variable_mtrr(told.reg));
    told.mfn = range.first.raw();
    told.nr_mfns = range.frames;
    told.type = range.type;
    return answer(guest, op, told);
}

// CPUs come up at boot and stay.
Outcome cpu_online(const Request&, xen_platform_op& op) {
    if (!present(op.u.cpu_ol.cpuid)) return Errno::kEINVAL;
    if (online(op.u.cpu_ol.cpuid)) return Outcome(0);
    return Errno::kEOPNOTSUPP;
}

Outcome cpu_offline(const Request&, xen_platform_op& op) {
    if (op.u.cpu_ol.cpuid == 0) return Errno::kEOPNOTSUPP;
    if (!present(op.u.cpu_ol.cpuid)) return Errno::kEINVAL;
    if (!online(op.u.cpu_ol.cpuid)) return Outcome(0);
    return Errno::kEOPNOTSUPP;
}

/// No CPU is ever parked.
Outcome core_parking(const Request& guest, xen_platform_op& op) {
    auto& parking = op.u.core_parking;
    switch (parking.type) {
        case XEN_CORE_PARKING_SET:
            if (parking.idle_nums && boot::highest_present_cpu()) return Errno::kEOPNOTSUPP;
            return Outcome(0);
        case XEN_CORE_PARKING_GET:
            parking.idle_nums = 0;
            return answer(guest, op, parking);
        default:
            return Errno::kEINVAL;
    }
}

/// The number of entries done; the first that failed carries its error.
Outcome resource_op(const Request&, xen_platform_op& op) {
    constexpr uint32_t kMaxEntries = 3;  // Xen's limit
    const auto& request = op.u.resource_op;
    if (request.nr_entries == 0) return Outcome(0);
    if (request.nr_entries > kMaxEntries) return Errno::kEINVAL;
    xenpf_resource_entry entries[kMaxEntries];
    const std::span used(entries, request.nr_entries);
    const GuestAddress where(request.entries);
    TRY(GuestIn<xenpf_resource_entry>(where.raw()).load_many(used));
    uint32_t done = 0;
    for (; done < request.nr_entries; ++done) {
        const int32_t failure = access(entries[done]);
        if (!failure) continue;
        entries[done].u.ret = failure;
        break;
    }
    if (done && !online(request.cpu)) return Errno::kENODEV;
    TRY(GuestOut<xenpf_resource_entry>(where.raw()).store_many(used));
    return Outcome(done);
}

}  // namespace hv::acpi::platform
