// sysctl: what the machine is.
#include <algorithm>
#include <bit>

#include "arch/cpu.hpp"
#include "arch/time.hpp"
#include "arch/topology.hpp"
#include "cpu/policy.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/sysctl.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/sched/sched.hpp"

namespace hv::sysctl {

namespace {

uint32_t cpu_count() {
    return static_cast<uint32_t>(arch::online_cpus().count());
}

/// One above the highest CPU number.
uint32_t cpu_limit() {
    return static_cast<uint32_t>(std::bit_width(arch::online_cpus().word(0)));
}

/// How many CPUs share the first one's core, and how many its package.
void count_siblings(xen_sysctl_physinfo& info) {
    const arch::CpuPlace first = arch::place_of(0);
    uint32_t in_package = 0;
    arch::online_cpus().for_each([&](size_t cpu) {
        const arch::CpuPlace place = arch::place_of(static_cast<CpuId>(cpu));
        if (place.package != first.package) return;
        ++in_package;
        if (place.core == first.core) ++info.threads_per_core;
    });
    info.threads_per_core = std::max(info.threads_per_core, uint32_t{1});
    info.cores_per_socket = std::max(in_package / info.threads_per_core, uint32_t{1});
}

/// A node's size from its first frame to its last, as Xen counts it, and what of it is free.
xen_sysctl_meminfo_t describe(Node node) {
    const Mfn end = memory::max_page();
    const uint64_t pages =
        memory::nodes::count() == 1 ? end.raw() : memory::nodes::spanned_pages(node, end);
    return {pages << kPageShift, memory::free_pages_of(node) << kPageShift};
}

}  // namespace

Outcome physinfo(xen_sysctl& op) {
    auto& info = op.u.physinfo;
    info = {};
    count_siblings(info);
    info.nr_cpus = cpu_count();
    info.max_cpu_id = cpu_limit() - 1;
    info.nr_nodes = memory::nodes::count();
    info.max_node_id = info.nr_nodes - 1;
    info.cpu_khz = static_cast<uint32_t>(arch::tsc_khz());
    info.capabilities =
        XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_gnttab_v1 | XEN_SYSCTL_PHYSCAP_gnttab_v2;
    info.total_pages = memory::total_pages();
    info.free_pages = memory::free_pages();
    info.outstanding_pages = memory::outstanding_claims();
    info.max_mfn = memory::max_page().raw();
    const auto features = arch::cpu_policy::host().featureset();
    std::copy_n(features.begin(), std::size(info.hw_cap), info.hw_cap);
    return Outcome{};
}

Outcome cputopoinfo(xen_sysctl& op) {
    auto& info = op.u.cputopoinfo;
    const GuestOut<xen_sysctl_cputopo> into(info.cputopo);
    const uint32_t limit = cpu_limit();
    if (into.is_null()) {
        info.num_cpus = limit;
        return Outcome{};
    }
    info.num_cpus = std::min(info.num_cpus, limit);
    for (uint32_t cpu = 0; cpu < info.num_cpus; ++cpu) {
        xen_sysctl_cputopo_t place = {XEN_INVALID_CORE_ID, XEN_INVALID_SOCKET_ID,
                                      XEN_INVALID_NODE_ID};
        if (arch::online_cpus().test(cpu)) {
            const arch::CpuPlace at = arch::place_of(cpu);
            place = {at.core, at.package, arch::node_of_cpu(cpu)};
        }
        if (auto told = into.store(place, cpu); !told) return told;
    }
    return Outcome{};
}

Outcome numainfo(xen_sysctl& op) {
    auto& info = op.u.numainfo;
    const GuestOut<xen_sysctl_meminfo_t> memory_of(info.meminfo);
    const GuestOut<uint32_t> distance(info.distance);
    const bool asked = !memory_of.is_null() || !distance.is_null();
    const uint32_t count = memory::nodes::count();
    info.num_nodes = asked ? std::min(info.num_nodes, count) : count;
    if (!asked) return Outcome{};
    for (uint32_t n = 0; n < info.num_nodes; ++n) {
        const auto node = static_cast<Node>(n);
        if (!memory_of.is_null())
            if (auto told = memory_of.store(describe(node), n); !told) return told;
        for (uint32_t to = 0; to < info.num_nodes && !distance.is_null(); ++to) {
            const uint32_t far = memory::nodes::distance(node, static_cast<Node>(to));
            if (auto told = distance.store(far, n * info.num_nodes + to); !told) return told;
        }
    }
    return Outcome{};
}

Outcome getcpuinfo(xen_sysctl& op) {
    auto& info = op.u.getcpuinfo;
    const GuestOut<xen_sysctl_cpuinfo_t> into(info.info);
    info.nr_cpus = std::min(info.max_cpus, cpu_limit());
    for (uint32_t cpu = 0; cpu < info.nr_cpus; ++cpu) {
        xen_sysctl_cpuinfo_t one = {};
        if (arch::online_cpus().test(cpu))
            one.idletime = sched::runstate_of(sched::idle_vcpu(cpu)).time[RUNSTATE_running];
        if (auto told = into.store(one, cpu); !told) return told;
    }
    return Outcome{};
}

Outcome availheap(xen_sysctl& op) {
    auto& heap = op.u.availheap;
    constexpr int32_t kAnyNode = -1;
    const bool whole = heap.node == kAnyNode;
    if (!whole && (heap.node < 0 || heap.node >= static_cast<int32_t>(memory::nodes::count())))
        return Errno::kEINVAL;
    // Only the whole: free memory is not counted by width of address.
    if (heap.min_bitwidth != 0 || heap.max_bitwidth != 0) return Errno::kEOPNOTSUPP;
    const uint64_t pages =
        whole ? memory::free_pages() : memory::free_pages_of(static_cast<Node>(heap.node));
    heap.avail_bytes = pages << kPageShift;
    return Outcome{};
}

Outcome get_cpu_levelling_caps(xen_sysctl& op) {
    // A guest's CPUID is masked by faulting, or not at all: never by the CPU's mask registers.
    constexpr uint32_t kCanFault = uint32_t{1} << 31;
    const bool faults = arch::cpu_policy::host().platform_info & kCanFault;
    op.u.cpu_levelling_caps.caps = faults ? XEN_SYSCTL_CPU_LEVELCAP_faulting : 0;
    return Outcome{};
}

Outcome get_cpu_featureset(xen_sysctl& op) {
    return arch::cpu_policy::sysctl_get_featureset(op.u.cpu_featureset);
}

Outcome get_cpu_policy(xen_sysctl& op) {
    return arch::cpu_policy::sysctl_get(op.u.cpu_policy);
}

}  // namespace hv::sysctl
