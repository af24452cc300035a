// Which NUMA nodes a domain's memory should come from: those of the CPUs that it will run on.
#include "arch/topology.hpp"
#include "hv/sched/core.hpp"

namespace hv::sched {
namespace {

NodeMask nodes_of(const CpuMask& cpus) {
    NodeMask nodes;
    cpus.for_each([&](size_t cpu) { nodes.set(arch::node_of_cpu(static_cast<CpuId>(cpu))); });
    return nodes;
}

}  // namespace

void follow_nodes(Domain& domain) {
    if (memory::nodes::count() == 1 || domain.has_node_affinity) return;
    CpuMask allowed;
    CpuMask wished;
    for_each_vcpu(domain, [&](const Vcpu& vcpu) {
        allowed |= unit_of(vcpu)->allowed;
        wished |= vcpu.soft_affinity;
    });
    wished &= allowed;
    const CpuMask& cpus = wished.empty() ? allowed : wished;
    domain.pages.lock()->near_nodes = cpus.empty() ? NodeMask::all() : nodes_of(cpus);
}

}  // namespace hv::sched
