#include "hv/x86/acpi/nodes.hpp"

#include <algorithm>

#include "hv/console/log.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/boot/options.hpp"

namespace hv::acpi {
namespace {

using memory::MachineRange;
using memory::nodes::kMaxNodes;
using memory::nodes::Stretch;

/// The proximity domain of each node, numbered as they are met.
struct Numbering {
    uint32_t proximity[kMaxNodes] = {};
    unsigned count = 0;

    Result<Node> find(uint32_t wanted) const {
        for (unsigned node = 0; node < count; ++node)
            if (proximity[node] == wanted) return static_cast<Node>(node);
        return Errno::kENOENT;
    }
    Result<> add(uint32_t domain) {
        if (find(domain)) return {};
        if (count == kMaxNodes) return Errno::kENOSPC;
        proximity[count++] = domain;
        return {};
    }
};
Numbering g_numbering;

struct Map {
    Stretch stretches[64];
    size_t count = 0;
};

Result<Map> map_of(const Info& info, const Numbering& numbering) {
    Map map;
    if (info.memory_affinity.dropped()) return Errno::kENOSPC;
    for (const MemoryAffinity& range : info.memory_affinity) {
        const uint64_t end = range.start + range.bytes;
        if (end < range.start) return Errno::kEINVAL;
        map.stretches[map.count++] = {Mfn{range.start >> kPageShift}, Mfn{end >> kPageShift},
                                      TRY(numbering.find(range.proximity))};
    }
    std::sort(map.stretches, map.stretches + map.count,
              [](const Stretch& a, const Stretch& b) { return a.first < b.first; });
    for (size_t i = 1; i < map.count; ++i)
        if (map.stretches[i].first < map.stretches[i - 1].end) return Errno::kEINVAL;
    return map;
}

/// Whether the stretches, which are in order, leave none of `ram` out. Its last, broken page is
/// nobody's.
bool covers(const Map& map, const MachineRange& ram) {
    Mfn at{ram.start >> kPageShift};
    const Mfn end{ram.end >> kPageShift};
    for (size_t i = 0; i < map.count && at < end; ++i)
        if (map.stretches[i].first <= at) at = std::max(at, map.stretches[i].end);
    return at >= end;
}

void set_distances(const Info& info, const Numbering& numbering) {
    for (unsigned from = 0; from < numbering.count; ++from) {
        for (unsigned to = 0; to < numbering.count; ++to) {
            const uint32_t a = numbering.proximity[from];
            const uint32_t b = numbering.proximity[to];
            if (a >= info.distances.count || b >= info.distances.count) continue;
            memory::nodes::set_distance(static_cast<Node>(from), static_cast<Node>(to),
                                        info.distances.from_to[a][b]);
        }
    }
}

}  // namespace

Result<> find_nodes(const Info& info, std::span<const MachineRange> ram) {
    g_numbering = {};
    if (info.memory_affinity.empty()) return Errno::kENOENT;
    Numbering numbering;
    for (const CpuAffinity& cpu : info.cpu_affinity) TRY(numbering.add(cpu.proximity));
    for (const MemoryAffinity& range : info.memory_affinity) TRY(numbering.add(range.proximity));
    const Map map = TRY(map_of(info, numbering));
    for (const MachineRange& range : ram)
        if (!covers(map, range)) return Errno::kEINVAL;
    TRY(memory::nodes::describe(numbering.count, {map.stretches, map.count}));
    set_distances(info, numbering);
    g_numbering = numbering;
    return {};
}

void init_nodes(std::span<const MachineRange> ram) {
    if (!boot::options().numa) return;
    const auto found = find_nodes(info(), ram);
    if (!found) {
        if (found.error() != Errno::kENOENT)
            log(LogLevel::kWarning, "ACPI: the SRAT {}; all memory counts as one NUMA node",
                found.error() == Errno::kENOSPC ? "has more nodes than are told apart"
                                                : "contradicts itself or the memory map");
        return;
    }
    for (unsigned node = 0; node < memory::nodes::count(); ++node)
        log(LogLevel::kInfo, "NUMA node {}: proximity domain {}, {} MiB", node,
            g_numbering.proximity[node],
            memory::nodes::spanned_pages(static_cast<Node>(node), Mfn{memory::kMaxFrames}) >>
                (20 - kPageShift));
}

Result<Node> node_of_proximity(uint32_t proximity) {
    return g_numbering.find(proximity);
}

Node node_of_apic(const Info& info, uint32_t apic_id) {
    for (const CpuAffinity& cpu : info.cpu_affinity)
        if (cpu.apic_id == apic_id)
            if (auto node = node_of_proximity(cpu.proximity)) return *node;
    return 0;
}

}  // namespace hv::acpi
