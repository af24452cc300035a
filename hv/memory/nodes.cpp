#include "hv/memory/nodes.hpp"

#include <algorithm>

#include "hv/memory/page.hpp"

namespace hv::memory::nodes {

constinit unsigned node_count = 1;

namespace {

constexpr size_t kMaxStretches = 64;
constexpr uint8_t kToItself = 10;
constexpr uint8_t kToOthers = 20;

Stretch stretches[kMaxStretches];
size_t stretch_count;
uint8_t distances[kMaxNodes][kMaxNodes];

const Stretch* stretch_of(Mfn mfn) {
    for (size_t i = 0; i < stretch_count; ++i)
        if (mfn >= stretches[i].first && mfn < stretches[i].end) return &stretches[i];
    return nullptr;
}

}  // namespace

Result<> describe(unsigned count, std::span<const Stretch> given) {
    if (count == 0 || count > kMaxNodes || given.size() > kMaxStretches) return Errno::kENOSPC;
    std::copy(given.begin(), given.end(), stretches);
    stretch_count = given.size();
    node_count = count;
    for (unsigned from = 0; from < kMaxNodes; ++from)
        for (unsigned to = 0; to < kMaxNodes; ++to)
            distances[from][to] = from == to ? kToItself : kToOthers;
    return {};
}

void set_distance(Node from, Node to, uint8_t distance) {
    distances[from][to] = distance;
}

Node find(Mfn mfn) {
    const Stretch* stretch = stretch_of(mfn);
    return stretch ? stretch->node : Node{0};
}

Mfn end_of_stretch(Mfn mfn) {
    if (const Stretch* stretch = stretch_of(mfn)) return stretch->end;
    for (size_t i = 0; i < stretch_count; ++i)
        if (stretches[i].first > mfn) return stretches[i].first;
    return Mfn{kMaxFrames};
}

uint8_t distance(Node from, Node to) {
    return node_count == 1 ? kToItself : distances[from][to];
}

uint64_t spanned_pages(Node node, Mfn limit) {
    Mfn first = kInvalidMfn;
    Mfn end{0};
    for (size_t i = 0; i < stretch_count; ++i) {
        if (stretches[i].node != node) continue;
        first = std::min(first, stretches[i].first);
        end = std::max(end, std::min(stretches[i].end, limit));
    }
    return first < end ? end - first : 0;
}

}  // namespace hv::memory::nodes
