// CPU policies: what PV guests may see, the serialised form, checks of what tools send, and the
// answers to CPUID.
#include "hv/x86/cpu/policy.hpp"

#include <gtest/gtest.h>
#include <xen/arch-x86/cpufeatureset.h>
#include <xen/arch-x86/cpuid.h>

#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "hv/domain/domain.hpp"
#include "hv/x86/arch/time.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/cpu/feature_sets.hpp"
#include "hv/x86/cpu/policy_detect.hpp"
#include "hv/x86/cpu/vendor.hpp"
#include "hv/x86/cpu/xsave.hpp"

// The fakes: a clock, a host policy in place of policy.cpp's, and a heap that was never used.
namespace hv::heap {
void release(void*) {}
}  // namespace hv::heap
namespace hv::arch {
uint64_t tsc_khz() {
    return 2500000;
}
namespace cpu_policy {
namespace {
CpuPolicy test_host;
}
const CpuPolicy& host() {
    return test_host;
}
}  // namespace cpu_policy
}  // namespace hv::arch

namespace {

using namespace hv;
using namespace hv::arch;
using namespace hv::arch::cpu_policy;

#define FEATURE(name) XEN_X86_FEATURE_##name

/// An AMD machine with everything a test asks about.
CpuPolicy sample_raw() {
    CpuPolicy p;
    p.basic[0] = {0xd, 0x68747541, 0x444d4163, 0x69746e65};
    p.basic[1] = {0x00800f12, 0x05020800, 0, 0};
    p.features[0].a = 1;
    p.extended[0] = {0x80000021, p.basic[0].b, p.basic[0].c, p.basic[0].d};
    p.extended[8].a = 0x3030 | 48 << 16;
    p.extended[0xa] = {1, 0x8000, 0, 0xff};
    Featureset all;
    all.fill(~0u);
    p.set_featureset(all);
    p.xstate[0] = {0x2e7, 0, 2696, 0};
    p.xstate[2] = {256, 576, 0, 0};
    p.xstate[5] = {64, 1088, 0, 0};
    p.xstate[6] = {512, 1152, 0, 0};
    p.xstate[7] = {1024, 1664, 0, 0};
    p.xstate[9] = {8, 2688, 0, 0};
    return p;
}

struct Policies {
    CpuPolicy raw, host, max, standard;
    explicit Policies(const CpuPolicy& r) : raw(r) {
        host = make_host(raw);
        max = make_pv_max(host);
        standard = make_pv_default(max, host);
    }
};

bool within(const CpuPolicy& a, const CpuPolicy& b) {
    Featureset x = a.featureset(), y = b.featureset();
    for (size_t i = 0; i < x.size(); ++i)
        if (x[i] & ~y[i]) return false;
    return !(a.xcr0_max() & ~b.xcr0_max());
}

// The header is the source of who may see what; its annotations are comments.
TEST(Policy, ListsAreTheHeadersAnnotations) {
    std::ifstream header("/usr/include/xen/arch-x86/cpufeatureset.h");
    ASSERT_TRUE(header.good());
    std::string line;
    unsigned rows = 0;
    while (std::getline(header, line)) {
        unsigned word, bit;
        char name[64], who_field[8] = {};
        // "XEN_CPUFEATURE(NAME, w*32+ b) /*A  Description */"
        if (sscanf(line.c_str(), "XEN_CPUFEATURE(%63[A-Z0-9_], %u*32+ %u) /*%7[A-Za-z!]", name,
                   &word, &bit, who_field) < 3)
            continue;
        ++rows;
        uint32_t feature = word * 32 + bit;
        std::string who = who_field;
        bool all = who.find('A') != who.npos, request = who.find('a') != who.npos;
        EXPECT_EQ(cpu_policy::test(pv_default_mask(), feature), all) << line;
        EXPECT_EQ(cpu_policy::test(pv_max_mask(), feature), all || request) << line;
    }
    EXPECT_GT(rows, 200u);
}

TEST(Policy, HidesWhatPvGuestsMustNotSee) {
    Policies p(sample_raw());
    for (uint32_t f : {FEATURE(VMX),      FEATURE(SVM),     FEATURE(PCID),         FEATURE(MTRR),
                       FEATURE(PSE),      FEATURE(PSE36),   FEATURE(PGE),          FEATURE(VME),
                       FEATURE(SMEP),     FEATURE(SMAP),    FEATURE(INVPCID),      FEATURE(PKU),
                       FEATURE(UMIP),     FEATURE(MONITOR), FEATURE(TSC_DEADLINE), FEATURE(XSAVES),
                       FEATURE(PAGE1GB),  FEATURE(IBRSB),   FEATURE(IBRS),         FEATURE(SSBD),
                       FEATURE(AMD_SSBD), FEATURE(OSXSAVE), FEATURE(SEP)}) {
        EXPECT_FALSE(p.max.has(f)) << f;
        EXPECT_FALSE(p.standard.has(f)) << f;
    }
    EXPECT_FALSE(p.standard.has(FEATURE(X2APIC)));
    EXPECT_FALSE(p.standard.has(FEATURE(ITSC)));
    EXPECT_TRUE(p.max.has(FEATURE(ITSC)));
    for (uint32_t f : {FEATURE(LM), FEATURE(NX), FEATURE(SYSCALL), FEATURE(AVX2), FEATURE(XSAVE),
                       FEATURE(FSGSBASE), FEATURE(HYPERVISOR), FEATURE(APIC), FEATURE(RDTSCP)})
        EXPECT_TRUE(p.standard.has(f)) << f;
    EXPECT_EQ(p.max.extended[0xa], CpuidLeaf{});
    EXPECT_EQ(p.max.features[0].c >> 16 & 1, 0u);  // five-level paging
    EXPECT_EQ(p.standard.basic[1].b >> 24, 0u);    // APIC id
}

TEST(Policy, AmdRepeatsTheCommonFeatures) {
    Policies p(sample_raw());
    EXPECT_EQ(p.standard.extended[1].d & 0x0183f3ff, p.standard.basic[1].d & 0x0183f3ff);
    EXPECT_EQ(p.host.extended[1].d & 0x0183f3ff, 0u);
}

TEST(Policy, DefaultIsWithinMaxAndBothOnThisMachineToo) {
    for (const CpuPolicy& raw : {sample_raw(), detect(), CpuPolicy{}}) {
        Policies p(raw);
        EXPECT_TRUE(within(p.standard, p.max));
        Objection objection;
        EXPECT_TRUE(check_compatible(p.max, p.standard, objection).ok());
        EXPECT_LE(p.host.basic[0].a, 0xdu);
    }
}

TEST(Policy, XstateFollowsTheFeatures) {
    Policies p(sample_raw());
    EXPECT_EQ(p.host.xcr0_max(), 0xe7u);  // without PKRU: not saved by the hypervisor
    EXPECT_EQ(p.host.xstate[0].c, 2688u);
    CpuPolicy guest = p.standard;
    Featureset set = guest.featureset();
    assign(set, FEATURE(AVX512F), false);
    guest.set_featureset(set);
    sanitise(guest, p.max, p.host);
    EXPECT_EQ(guest.xcr0_max(), 7u);
    EXPECT_EQ(guest.xstate[0].c, 832u);
    EXPECT_EQ(guest.xstate[7], CpuidLeaf{});
    EXPECT_FALSE(guest.has(FEATURE(AVX512BW)));

    assign(set, FEATURE(XSAVE), false);
    guest.set_featureset(set);
    sanitise(guest, p.max, p.host);
    EXPECT_EQ(guest.xcr0_max(), 0u);
    EXPECT_EQ(guest.xstate[0].c, 0u);
    EXPECT_FALSE(guest.has(FEATURE(AVX)));
    EXPECT_FALSE(guest.has(FEATURE(FMA)));
}

TEST(Policy, MissingComponentsHideTheirFeatures) {
    CpuPolicy raw = sample_raw();
    raw.xstate[0].a = 7;
    CpuPolicy host = make_host(raw);
    EXPECT_FALSE(host.has(FEATURE(AVX512F)));
    EXPECT_TRUE(host.has(FEATURE(AVX2)));
}

TEST(Policy, Xcr0Rules) {
    using fpu::valid_xcr0;
    constexpr uint64_t kAll = 0xe7;
    EXPECT_TRUE(valid_xcr0(1, kAll));
    EXPECT_TRUE(valid_xcr0(3, kAll));
    EXPECT_TRUE(valid_xcr0(7, kAll));
    EXPECT_TRUE(valid_xcr0(0xe7, kAll));
    EXPECT_FALSE(valid_xcr0(0, kAll));
    EXPECT_FALSE(valid_xcr0(2, kAll));
    EXPECT_FALSE(valid_xcr0(5, kAll));     // AVX without SSE
    EXPECT_FALSE(valid_xcr0(0x67, kAll));  // half of AVX-512
    EXPECT_FALSE(valid_xcr0(0xe3, kAll));  // AVX-512 without AVX
    EXPECT_FALSE(valid_xcr0(7, 3));
    EXPECT_FALSE(valid_xcr0(0x201, kAll));
}

TEST(Policy, SerialisedFormComesBackTheSame) {
    for (const CpuPolicy& raw : {sample_raw(), detect()}) {
        Policies p(raw);
        for (const CpuPolicy& policy : {p.host, p.max, p.standard}) {
            std::vector<xen_cpuid_leaf_t> leaves(kMaxLeaves);
            auto count = serialise(policy, std::span(leaves));
            ASSERT_TRUE(count.ok());
            std::vector<xen_msr_entry_t> msrs(kMaxMsrs);
            ASSERT_EQ(serialise(policy, std::span(msrs)).value_or(0), kMaxMsrs);

            CpuPolicy again;
            for (uint32_t i = 0; i < *count; ++i) ASSERT_TRUE(merge(again, leaves[i]).ok());
            for (auto& m : msrs) ASSERT_TRUE(merge(again, m).ok());
            EXPECT_EQ(again.featureset(), policy.featureset());
            std::vector<xen_cpuid_leaf_t> second(kMaxLeaves);
            ASSERT_EQ(serialise(again, std::span(second)).value_or(0), *count);
            EXPECT_EQ(memcmp(leaves.data(), second.data(), *count * sizeof(leaves[0])), 0);
            for (uint32_t i = 1; i < *count; ++i)  // the tools rely on the order
                EXPECT_LT(std::pair(leaves[i - 1].leaf, leaves[i - 1].subleaf),
                          std::pair(leaves[i].leaf, leaves[i].subleaf));
        }
    }
}

TEST(Policy, SerialisingIntoTooLittleRoomFails) {
    Policies p(sample_raw());
    std::vector<xen_cpuid_leaf_t> leaves(kMaxLeaves);
    uint32_t count = serialise(p.max, std::span(leaves)).value_or(0);
    ASSERT_GT(count, 0u);
    EXPECT_TRUE(serialise(p.max, std::span(leaves).first(count)).ok());
    EXPECT_EQ(serialise(p.max, std::span(leaves).first(count - 1)).error(), Errno::kENOBUFS);
    xen_msr_entry_t one;
    EXPECT_EQ(serialise(p.max, std::span(&one, 1)).error(), Errno::kENOBUFS);
}

TEST(Policy, MergeRefusesWhatDoesNotExist) {
    CpuPolicy p;
    auto leaf = [&](uint32_t l, uint32_t s) { return merge(p, {l, s, 1, 2, 3, 4}).error(); };
    constexpr uint32_t kNone = XEN_CPUID_NO_SUBLEAF;
    EXPECT_EQ(leaf(0xe, kNone), Errno::kERANGE);
    EXPECT_EQ(leaf(1, 0), Errno::kERANGE);
    EXPECT_EQ(leaf(7, kNone), Errno::kERANGE);
    EXPECT_EQ(leaf(7, 3), Errno::kERANGE);
    EXPECT_EQ(leaf(0xd, 63), Errno::kERANGE);
    EXPECT_EQ(leaf(0x80000022, kNone), Errno::kERANGE);
    EXPECT_EQ(leaf(0x40000001, kNone), Errno::kERANGE);
    EXPECT_EQ(leaf(0xffffffff, kNone), Errno::kERANGE);
    EXPECT_EQ(merge(p, xen_msr_entry_t{0x1b, 0, 0}).error(), Errno::kERANGE);
    EXPECT_EQ(merge(p, xen_msr_entry_t{0xce, 1, 0}).error(), Errno::kEINVAL);
    EXPECT_EQ(merge(p, xen_msr_entry_t{0xce, 0, 1ull << 32}).error(), Errno::kEOVERFLOW);
}

TEST(Policy, IncompatibilityNamesTheLeafOrMsr) {
    Policies p(sample_raw());
    auto objection_to = [&](auto change) {
        CpuPolicy guest = p.standard;
        change(guest);
        Objection o;
        EXPECT_EQ(check_compatible(p.max, guest, o).error(), Errno::kEINVAL);
        return o;
    };
    EXPECT_EQ(objection_to([](CpuPolicy& g) { g.basic[0].a = 0xe; }).leaf, 0u);
    EXPECT_EQ(objection_to([](CpuPolicy& g) { g.features[0].a = 9; }).leaf, 7u);
    EXPECT_EQ(objection_to([](CpuPolicy& g) { g.extended[0].a = 0x80000022; }).leaf, 0x80000000u);
    EXPECT_EQ(objection_to([](CpuPolicy& g) { g.platform_info = 1; }).msr, 0xceu);
}

// Whatever tools write: the result is within max, and sanitising it again changes nothing.
TEST(Policy, SanitisedGarbageIsWithinMax) {
    Policies p(sample_raw());
    std::mt19937 random(1);
    for (int round = 0; round < 300; ++round) {
        CpuPolicy guest = p.standard;
        auto* words = reinterpret_cast<uint32_t*>(&guest);
        for (int i = 0; i < 100; ++i)
            words[random() % (sizeof(guest) / 4)] = static_cast<uint32_t>(random());
        sanitise(guest, p.max, p.host);
        Featureset extra = guest.featureset();
        for (uint32_t f : {FEATURE(FDP_EXCP_ONLY), FEATURE(NO_FPU_SEL)}) assign(extra, f, false);
        CpuPolicy bounded = guest;
        bounded.set_featureset(extra);
        ASSERT_TRUE(within(bounded, p.max));
        ASSERT_LE(guest.extended[0].a, p.max.extended[0].a);
        ASSERT_LE(guest.xstate[0].c, p.host.xstate[0].c);
        CpuPolicy again = guest;
        sanitise(again, p.max, p.host);
        ASSERT_EQ(memcmp(&again, &guest, sizeof(guest)), 0);
    }
}

class GuestCpuid : public testing::Test {
  protected:
    Policies policies{sample_raw()};
    CpuPolicy own = policies.standard;
    Domain domain;
    Vcpu vcpu{domain, VcpuId{0}};
    void SetUp() override { domain.arch.cpu_policy = &own; }
    CpuidLeaf ask(uint32_t leaf, uint32_t subleaf = 0, bool enlightened = false) {
        return guest_cpuid(vcpu, leaf, subleaf, enlightened);
    }
};

TEST_F(GuestCpuid, XenLeavesNameTheHypervisor) {
    CpuidLeaf l = ask(0x40000000);
    EXPECT_EQ(l.a, 0x40000005u);
    EXPECT_EQ(l.b, uint32_t{XEN_CPUID_SIGNATURE_EBX});
    EXPECT_EQ(l.c, uint32_t{XEN_CPUID_SIGNATURE_ECX});
    EXPECT_EQ(l.d, uint32_t{XEN_CPUID_SIGNATURE_EDX});
    EXPECT_EQ(ask(0x40000001).a, 0x00040011u);
    EXPECT_EQ(ask(0x40000002).a, 1u);
    EXPECT_EQ(ask(0x40000003).c, 2500000u);
    EXPECT_EQ(ask(0x40000004), CpuidLeaf{});
    EXPECT_EQ(ask(0x40000006), CpuidLeaf{});
    own.hv_limit = 1;
    EXPECT_EQ(ask(0x40000000).a, 0x40000002u);
    EXPECT_EQ(ask(0x40000003), CpuidLeaf{});
}

TEST_F(GuestCpuid, TimeLeafScalesTicksToNanoseconds) {
    CpuidLeaf l = ask(0x40000003, 1);
    auto shift = static_cast<int32_t>(l.d);
    uint64_t ticks = 2500000000;  // a second
    uint64_t shifted = shift < 0 ? ticks >> -shift : ticks << shift;
    auto ns = static_cast<uint64_t>((static_cast<unsigned __int128>(shifted) * l.c) >> 32);
    EXPECT_NEAR(static_cast<double>(ns), 1e9, 2);
}

TEST_F(GuestCpuid, OsxsaveFollowsCr4) {
    constexpr uint32_t kOsxsave = 1 << 27;
    EXPECT_FALSE(ask(1).c & kOsxsave);
    EXPECT_TRUE(ask(1, 0, true).c & kOsxsave);  // the kernel's own question
    vcpu.arch.pv.kernel_mode = false;
    EXPECT_FALSE(ask(1, 0, true).c & kOsxsave);
    vcpu.arch.pv.cr4_guest = cr4::kOsxsave;
    EXPECT_TRUE(ask(1).c & kOsxsave);
}

TEST_F(GuestCpuid, LeavesBeyondTheLimitsAreZero) {
    EXPECT_EQ(ask(0xe), CpuidLeaf{});
    EXPECT_EQ(ask(0x7fffffff), CpuidLeaf{});
    EXPECT_EQ(ask(0x80000022), CpuidLeaf{});
    EXPECT_EQ(ask(0xffffffff), CpuidLeaf{});
    EXPECT_EQ(ask(7, 2), CpuidLeaf{});
    EXPECT_EQ(ask(0xd, 63), CpuidLeaf{});
    EXPECT_EQ(ask(0xd, 0xffffffff), CpuidLeaf{});
    own.basic[0].a = 6;
    EXPECT_EQ(ask(7), CpuidLeaf{});
}

TEST_F(GuestCpuid, XsaveSizesFollowXcr0) {
    vcpu.arch.xcr0 = 1;
    EXPECT_EQ(ask(0xd).b, 576u);
    vcpu.arch.xcr0 = 7;
    EXPECT_EQ(ask(0xd).b, 832u);
    EXPECT_EQ(ask(0xd, 1).b, 832u);
    vcpu.arch.xcr0 = 0xe7;
    EXPECT_EQ(ask(0xd).b, 2688u);
    EXPECT_EQ(ask(0xd, 1).b, 576u + 256 + 64 + 512 + 1024);
    EXPECT_EQ(ask(0xd).c, 2688u);
}

}  // namespace
