// sysctl: parts of the machine that come and go, or would. What cannot be done here is refused.
#include <algorithm>

#include "arch/cpu.hpp"
#include "arch/topology.hpp"
#include "boot/memory_map.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/sysctl.hpp"

namespace hv::sysctl {

/// The node of each PCI function asked about.
Outcome pcitopoinfo(xen_sysctl& op) {
    auto& info = op.u.pcitopoinfo;
    const GuestIn<physdev_pci_device> devices(info.devs);
    const GuestOut<uint32_t> nodes(info.nodes);
    constexpr uint32_t kAtOnce = 64;  // the caller asks again for the rest
    if (devices.is_null() || nodes.is_null()) return Errno::kEINVAL;
    info.num_devs = std::min(info.num_devs, kAtOnce);
    for (uint32_t i = 0; i < info.num_devs; ++i) {
        const auto device = TRY(devices.load(i));
        uint32_t node = XEN_INVALID_DEV;
        if (auto known = arch::node_of_pci(device.seg, device.bus, device.devfn)) node = *known;
        TRY(nodes.store(node, i));
    }
    return Outcome{};
}

/// CPUs come up at boot and stay.
Outcome cpu_hotplug(xen_sysctl& op) {
    const auto& request = op.u.cpu_hotplug;
    const bool online = request.cpu < kMaxCpus && arch::online_cpus().test(request.cpu);
    switch (request.op) {
        case XEN_SYSCTL_CPU_HOTPLUG_ONLINE:
            return online ? Errno::kEEXIST : Errno::kEINVAL;
        case XEN_SYSCTL_CPU_HOTPLUG_OFFLINE:
            return online && request.cpu != 0 ? Errno::kEOPNOTSUPP : Errno::kEINVAL;
    }
    return Errno::kEOPNOTSUPP;
}

/// Whether frames are out of use: none is. Taking one out is not supported.
Outcome page_offline_op(xen_sysctl& op) {
    const auto& request = op.u.page_offline;
    constexpr uint32_t kMost = 4096;
    if (request.end < request.start) return Errno::kEINVAL;
    if (request.cmd == sysctl_page_offline || request.cmd == sysctl_page_online)
        return Errno::kEOPNOTSUPP;
    if (request.cmd != sysctl_query_page_offline) return Errno::kEINVAL;
    if (request.end - request.start >= kMost) return Errno::kE2BIG;
    const GuestOut<uint32_t> status(request.status);
    for (uint32_t mfn = request.start; mfn <= request.end; ++mfn) {
        const bool ram = boot::is_ram(Mfn{mfn});
        TRY(status.store(ram ? 0 : PG_OFFLINE_INVALID, mfn - request.start));
        if (!ram) return Errno::kEINVAL;
    }
    return Outcome{};
}

/// Nothing is patched, and nothing can be.
Outcome livepatch_op(xen_sysctl& op) {
    auto& request = op.u.livepatch;
    if (request.pad) return Errno::kEINVAL;
    switch (request.cmd) {
        case XEN_SYSCTL_LIVEPATCH_LIST: {
            auto& list = request.u.list;
            if (list.pad) return Errno::kEINVAL;
            list.version = list.nr = list.name_total_size = list.metadata_total_size = 0;
            return Outcome{};
        }
        case XEN_SYSCTL_LIVEPATCH_GET:
        case XEN_SYSCTL_LIVEPATCH_ACTION:
            return Errno::kENOENT;
    }
    return Errno::kEOPNOTSUPP;
}

Outcome no_cache_monitoring(xen_sysctl&) {
    return Errno::kENODEV;
}
Outcome no_coverage(xen_sysctl&) {
    return Errno::kEOPNOTSUPP;
}

}  // namespace hv::sysctl
