// Policies as the tools send and receive them: arrays of leaves and of MSRs.
#include <xen/arch-x86/cpufeatureset.h>

#include "hv/x86/cpu/msr_numbers.hpp"
#include "hv/x86/cpu/policy.hpp"

namespace hv::arch::cpu_policy {
namespace {

constexpr uint32_t kNoSubleaf = XEN_CPUID_NO_SUBLEAF;
constexpr uint32_t kXenLeaves = 0x40000000, kXenLeavesBehindViridian = 0x40000100,
                   kExtendedLeaves = 0x80000000;

/// Appends entries to a span until it is full.
template <class Entry>
class Writer {
  public:
    explicit Writer(std::span<Entry> into) : into_(into) {}
    void put(const Entry& entry) {
        if (count_ < into_.size())
            into_[count_] = entry;
        else
            full_ = true;
        ++count_;
    }
    Result<uint32_t> finish() const {
        if (full_) return Errno::kENOBUFS;
        return static_cast<uint32_t>(count_);
    }

  private:
    std::span<Entry> into_;
    size_t count_ = 0;
    bool full_ = false;
};

xen_cpuid_leaf_t entry(uint32_t leaf, uint32_t subleaf, const CpuidLeaf& l) {
    return {.leaf = leaf, .subleaf = subleaf, .a = l.a, .b = l.b, .c = l.c, .d = l.d};
}

using LeafWriter = Writer<xen_cpuid_leaf_t>;

/// Sub-leaves until, and with, the first whose `type` (its kind; 0: none) says it is the end.
template <size_t N, class Type>
void put_until_end(LeafWriter& out, uint32_t leaf, const CpuidLeaf (&subleaves)[N], Type type) {
    for (uint32_t i = 0; i < N; ++i) {
        out.put(entry(leaf, i, subleaves[i]));
        if (type(subleaves[i]) == 0) break;
    }
}

void put_features(LeafWriter& out, const CpuPolicy& p) {
    for (uint32_t i = 0; i <= p.features[0].a && i < std::size(p.features); ++i)
        out.put(entry(7, i, p.features[i]));
}

/// 0 and 1 always, then up to the highest component that XCR0 or XSS may hold.
void put_xstate(LeafWriter& out, const CpuPolicy& p) {
    uint64_t components = p.xcr0_max() | p.xstate[1].c | (uint64_t{p.xstate[1].d} << 32);
    out.put(entry(0xd, 0, p.xstate[0]));
    out.put(entry(0xd, 1, p.xstate[1]));
    for (uint32_t i = 2; i < std::size(p.xstate) && components >> i; ++i)
        out.put(entry(0xd, i, p.xstate[i]));
}

void put_basic(LeafWriter& out, const CpuPolicy& p, uint32_t leaf) {
    switch (leaf) {
        case 4:
            put_until_end(out, leaf, p.cache, [](const CpuidLeaf& l) { return l.a & 0x1f; });
            break;
        case 7:
            put_features(out, p);
            break;
        case 0xb:
            put_until_end(out, leaf, p.topology, [](const CpuidLeaf& l) { return l.c & 0xff00; });
            break;
        case 0xd:
            put_xstate(out, p);
            break;
        default:
            out.put(entry(leaf, kNoSubleaf, p.basic[leaf]));
            break;
    }
}

/// The array of sub-leaves that a basic leaf has, or an empty one.
std::span<CpuidLeaf> subleaves_of(CpuPolicy& p, uint32_t leaf) {
    switch (leaf) {
        case 4:
            return p.cache;
        case 7:
            return p.features;
        case 0xb:
            return p.topology;
        case 0xd:
            return p.xstate;
        default:
            return {};
    }
}

}  // namespace

Result<uint32_t> serialise(const CpuPolicy& p, std::span<xen_cpuid_leaf_t> into) {
    LeafWriter out(into);
    for (uint32_t leaf = 0; leaf <= p.basic[0].a && leaf < std::size(p.basic); ++leaf)
        put_basic(out, p, leaf);
    out.put(entry(kXenLeaves, kNoSubleaf, {.a = p.hv_limit}));
    out.put(entry(kXenLeavesBehindViridian, kNoSubleaf, {.a = p.hv2_limit}));
    for (uint32_t i = 0; i <= (p.extended[0].a & 0xffff) && i < std::size(p.extended); ++i)
        out.put(entry(kExtendedLeaves + i, kNoSubleaf, p.extended[i]));
    return out.finish();
}

Result<uint32_t> serialise(const CpuPolicy& p, std::span<xen_msr_entry_t> into) {
    Writer<xen_msr_entry_t> out(into);
    out.put({.idx = guest_msr::kPlatformInfo, .flags = 0, .val = p.platform_info});
    out.put({.idx = guest_msr::kArchCapabilities, .flags = 0, .val = p.arch_caps});
    return out.finish();
}

Result<> merge(CpuPolicy& p, const xen_cpuid_leaf_t& e) {
    CpuidLeaf value{e.a, e.b, e.c, e.d};
    if (std::span<CpuidLeaf> subleaves = subleaves_of(p, e.leaf); !subleaves.empty()) {
        if (e.subleaf >= subleaves.size()) return Errno::kERANGE;
        subleaves[e.subleaf] = value;
        return {};
    }
    if (e.subleaf != kNoSubleaf) return Errno::kERANGE;
    if (e.leaf < std::size(p.basic))
        p.basic[e.leaf] = value;
    else if (e.leaf == kXenLeaves)
        p.hv_limit = static_cast<uint8_t>(e.a);
    else if (e.leaf == kXenLeavesBehindViridian)
        p.hv2_limit = static_cast<uint8_t>(e.a);
    else if (e.leaf - kExtendedLeaves < std::size(p.extended))
        p.extended[e.leaf - kExtendedLeaves] = value;
    else
        return Errno::kERANGE;
    return {};
}

Result<> merge(CpuPolicy& p, const xen_msr_entry_t& e) {
    if (e.flags) return Errno::kEINVAL;
    switch (e.idx) {
        case guest_msr::kPlatformInfo:
            if (e.val >> 32) return Errno::kEOVERFLOW;
            p.platform_info = static_cast<uint32_t>(e.val);
            return {};
        case guest_msr::kArchCapabilities:
            p.arch_caps = e.val;
            return {};
        default:
            return Errno::kERANGE;
    }
}

Result<> check_compatible(const CpuPolicy& max, const CpuPolicy& guest, Objection& objection) {
    if (guest.basic[0].a > max.basic[0].a) {
        objection = {.leaf = 0, .subleaf = kNoSubleaf};
        return Errno::kEINVAL;
    }
    if (guest.features[0].a > max.features[0].a) {
        objection = {.leaf = 7, .subleaf = 0};
        return Errno::kEINVAL;
    }
    if (guest.extended[0].a > max.extended[0].a) {
        objection = {.leaf = kExtendedLeaves, .subleaf = kNoSubleaf};
        return Errno::kEINVAL;
    }
    if (guest.platform_info & ~max.platform_info) {
        objection = {.msr = guest_msr::kPlatformInfo};
        return Errno::kEINVAL;
    }
    return {};
}

}  // namespace hv::arch::cpu_policy
