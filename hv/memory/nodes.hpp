// NUMA nodes: stretches of memory that lie nearer to some CPUs than to others. Told once at boot by
// the architecture, before any memory is added; constant from then on, so nothing here is locked.
// Without a word there is one node, 0, and everything is in it.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

/// Sets of nodes, as wide as the ABI's (Xen's MAX_NUMNODES).
using NodeMask = Bitmap<64>;
using Node = uint8_t;

namespace memory::nodes {

inline constexpr unsigned kMaxNodes = 8;  ///< that are told apart

struct Stretch {
    Mfn first;
    Mfn end;  ///< exclusive
    Node node;
};

/// At boot: there are `count` nodes, 1 to kMaxNodes; `stretches` cover all RAM, in order of their
/// frames, and do not overlap. What does not fit is kENOSPC, and nothing changes.
Result<> describe(unsigned count, std::span<const Stretch> stretches);
/// ACPI's relative distance (SLIT): 10 is a node to itself. Without a word: 20 to any other.
void set_distance(Node from, Node to, uint8_t distance);

extern constinit unsigned node_count;
inline unsigned count() {
    return node_count;
}
inline NodeMask online() {
    return NodeMask::first_n(node_count);
}

Node find(Mfn mfn);
/// The node of a frame of RAM.
inline Node of(Mfn mfn) {
    return node_count == 1 ? Node{0} : find(mfn);
}
/// One above the last frame that lies in the same stretch as `mfn`.
Mfn end_of_stretch(Mfn mfn);
uint8_t distance(Node from, Node to);
/// From the node's first frame to its last below `limit`, holes between them included: what tools
/// are told.
uint64_t spanned_pages(Node node, Mfn limit);

}  // namespace memory::nodes
}  // namespace hv
