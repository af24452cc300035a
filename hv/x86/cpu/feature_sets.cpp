#include "hv/x86/cpu/feature_sets.hpp"

#include <xen/arch-x86/cpufeatureset.h>

namespace hv::arch::cpu_policy {
namespace {

// Who may see what, after the annotations in <xen/arch-x86/cpufeatureset.h>, which are comments
// there; tests/unit/policy_test.cpp compares these lists with the header.
#define F(name) XEN_X86_FEATURE_##name

/// A: all guests.
constexpr uint32_t kForAll[] = {
    F(FPU),
    F(DE),
    F(TSC),
    F(MSR),
    F(PAE),
    F(MCE),
    F(CX8),
    F(APIC),
    F(SEP),
    F(MCA),
    F(CMOV),
    F(PAT),
    F(CLFLUSH),
    F(ACPI),
    F(MMX),
    F(FXSR),
    F(SSE),
    F(SSE2),
    F(SS),
    F(HTT),
    F(SSE3),
    F(PCLMULQDQ),
    F(SSSE3),
    F(FMA),
    F(CX16),
    F(SSE4_1),
    F(SSE4_2),
    F(MOVBE),
    F(POPCNT),
    F(AESNI),
    F(XSAVE),
    F(AVX),
    F(F16C),
    F(RDRAND),
    F(HYPERVISOR),
    F(SYSCALL),
    F(NX),
    F(MMXEXT),
    F(FFXSR),
    F(RDTSCP),
    F(LM),
    F(3DNOWEXT),
    F(3DNOW),
    F(LAHF_LM),
    F(CMP_LEGACY),
    F(ABM),
    F(SSE4A),
    F(MISALIGNSSE),
    F(3DNOWPREFETCH),
    F(XOP),
    F(FMA4),
    F(TBM),
    F(DBEXT),
    F(XSAVEOPT),
    F(XSAVEC),
    F(XGETBV1),
    F(FSGSBASE),
    F(BMI1),
    F(AVX2),
    F(BMI2),
    F(ERMS),
    F(RTM),
    F(AVX512F),
    F(AVX512DQ),
    F(RDSEED),
    F(ADX),
    F(AVX512_IFMA),
    F(CLFLUSHOPT),
    F(CLWB),
    F(AVX512PF),
    F(AVX512ER),
    F(AVX512CD),
    F(SHA),
    F(AVX512BW),
    F(AVX512VL),
    F(PREFETCHWT1),
    F(AVX512_VBMI),
    F(AVX512_VBMI2),
    F(GFNI),
    F(VAES),
    F(VPCLMULQDQ),
    F(AVX512_VNNI),
    F(AVX512_BITALG),
    F(AVX512_VPOPCNTDQ),
    F(RDPID),
    F(CLDEMOTE),
    F(CLZERO),
    F(RSTR_FP_ERR_PTRS),
    F(IBPB),
    F(SSB_NO),
    F(BTC_NO),
    F(IBPB_RET),
    F(AVX512_4VNNIW),
    F(AVX512_4FMAPS),
    F(FSRM),
    F(MD_CLEAR),
    F(SERIALIZE),
    F(IBRSB),
    F(STIBP),
    F(ARCH_CAPS),
    F(SSBD),
    F(AVX_VNNI),
    F(AVX512_BF16),
    F(FZRM),
    F(FSRS),
    F(FSRCS),
    F(LFENCE_DISPATCH),
    F(VERW_CLEAR),
    F(NSCB),
    F(SBPB),
    F(IBPB_BRTYPE),
    F(SRSO_NO),
    F(SRSO_US_NO),
    F(INTEL_PSFD),
    F(MCDT_NO),
    F(RDCL_NO),
    F(EIBRS),
    F(INTEL_SSB_NO),
    F(MDS_NO),
    F(IF_PSCHANGE_MC_NO),
    F(TAA_NO),
    F(SBDR_SSDP_NO),
    F(FBSDP_NO),
    F(PSDP_NO),
    F(FB_CLEAR),
    F(BHI_NO),
    F(PBRSB_NO),
    F(GDS_NO),
    F(RFDS_NO),
    F(RFDS_CLEAR),
    F(ITS_NO),
    F(TSA_SQ_NO),
    F(TSA_L1_NO),
};
/// a: all guests, when their configuration asks for it.
constexpr uint32_t kForAllOnRequest[] = {
    F(HLE), F(MOVDIRI), F(MOVDIR64B), F(ITSC), F(AVX512_VP2INTERSECT), F(TSXLDTRK),
};
/// A feature, and what makes no sense without it (architecture manuals; where they are silent,
/// what no CPU was ever built with).
struct Dependency {
    uint32_t feature;
    uint32_t dependent;
};
constexpr Dependency kDependencies[] = {
    {F(FPU), F(MMX)},
    {F(FPU), F(RSTR_FP_ERR_PTRS)},
    {F(PSE), F(PSE36)},
    {F(PAE), F(LM)},
    {F(PAE), F(NX)},
    {F(TSC), F(TSC_DEADLINE)},
    {F(TSC), F(RDTSCP)},
    {F(TSC), F(TSC_ADJUST)},
    {F(TSC), F(ITSC)},
    {F(APIC), F(X2APIC)},
    {F(APIC), F(TSC_DEADLINE)},
    {F(APIC), F(EXTAPIC)},
    {F(MMX), F(MMXEXT)},
    {F(MMX), F(3DNOW)},
    {F(FXSR), F(FFXSR)},
    {F(FXSR), F(SSE)},
    {F(SSE), F(SSE2)},
    {F(SSE), F(MISALIGNSSE)},
    {F(SSE2), F(SSE3)},
    {F(SSE2), F(LM)},
    {F(SSE2), F(AESNI)},
    {F(SSE2), F(PCLMULQDQ)},
    {F(SSE2), F(SHA)},
    {F(SSE2), F(GFNI)},
    {F(SSE3), F(SSSE3)},
    {F(SSE3), F(SSE4A)},
    {F(SSSE3), F(SSE4_1)},
    {F(SSE4_1), F(SSE4_2)},
    {F(XSAVE), F(XSAVEOPT)},
    {F(XSAVE), F(XSAVEC)},
    {F(XSAVE), F(XGETBV1)},
    {F(XSAVE), F(XSAVES)},
    {F(XSAVE), F(AVX)},
    {F(XSAVE), F(MPX)},
    {F(XSAVE), F(PKU)},
    {F(XSAVE), F(LWP)},
    {F(AVX), F(FMA)},
    {F(AVX), F(FMA4)},
    {F(AVX), F(F16C)},
    {F(AVX), F(AVX2)},
    {F(AVX), F(XOP)},
    {F(NX), F(SMAP)},
    {F(LM), F(CX16)},
    {F(LM), F(PCID)},
    {F(LM), F(LAHF_LM)},
    {F(LM), F(PAGE1GB)},
    {F(LM), F(PKU)},
    {F(LM), F(NO_LMSL)},
    {F(3DNOW), F(3DNOWEXT)},
    {F(AVX2), F(AVX512F)},
    {F(AVX2), F(VAES)},
    {F(AVX2), F(VPCLMULQDQ)},
    {F(AVX2), F(AVX_VNNI)},
    {F(AVX512F), F(AVX512DQ)},
    {F(AVX512F), F(AVX512_IFMA)},
    {F(AVX512F), F(AVX512PF)},
    {F(AVX512F), F(AVX512ER)},
    {F(AVX512F), F(AVX512CD)},
    {F(AVX512F), F(AVX512BW)},
    {F(AVX512F), F(AVX512VL)},
    {F(AVX512F), F(AVX512_4VNNIW)},
    {F(AVX512F), F(AVX512_4FMAPS)},
    {F(AVX512F), F(AVX512_VNNI)},
    {F(AVX512F), F(AVX512_VPOPCNTDQ)},
    {F(AVX512F), F(AVX512_VP2INTERSECT)},
    {F(AVX512BW), F(AVX512_VBMI)},
    {F(AVX512BW), F(AVX512_VBMI2)},
    {F(AVX512BW), F(AVX512_BITALG)},
    {F(AVX512BW), F(AVX512_BF16)},
    {F(AVX512BW), F(AVX512_FP16)},
    {F(PCLMULQDQ), F(VPCLMULQDQ)},
    {F(AESNI), F(VAES)},
    {F(IBRSB), F(STIBP)},
    {F(IBRSB), F(SSBD)},
    {F(IBRSB), F(INTEL_PSFD)},
    {F(IBRSB), F(EIBRS)},
    {F(IBRSB), F(IPRED_CTRL)},
    {F(IBRSB), F(RRSBA_CTRL)},
    {F(IBRSB), F(BHI_CTRL)},
    {F(IBRS), F(AMD_STIBP)},
    {F(IBRS), F(AMD_SSBD)},
    {F(IBRS), F(PSFD)},
    {F(IBRS), F(IBRS_ALWAYS)},
    {F(IBRS), F(IBRS_FAST)},
    {F(IBRS), F(IBRS_SAME_MODE)},
    {F(IBPB), F(IBPB_RET)},
    {F(IBPB), F(SBPB)},
    {F(IBPB), F(IBPB_BRTYPE)},
    {F(AMD_STIBP), F(STIBP_ALWAYS)},
    {F(RTM), F(TSXLDTRK)},
    {F(EIBRS), F(RRSBA)},
};
#undef F

template <size_t N>
constexpr Featureset make_set(const uint32_t (&features)[N]) {
    Featureset set{};
    for (uint32_t f : features) set[f / 32] |= 1u << (f % 32);
    return set;
}

constexpr Featureset kPvDefault = make_set(kForAll);
constexpr Featureset kOnRequest = make_set(kForAllOnRequest);

constexpr Featureset make_pv_max() {
    Featureset set = kPvDefault;
    for (size_t i = 0; i < set.size(); ++i) set[i] |= kOnRequest[i];
    return set;
}
constexpr Featureset kPvMax = make_pv_max();

}  // namespace

const Featureset& pv_default_mask() {
    return kPvDefault;
}
const Featureset& pv_max_mask() {
    return kPvMax;
}

void clear_dependents(Featureset& set) {
    // A chain is as long as its features: repeat until nothing changes.
    for (bool changed = true; changed;) {
        changed = false;
        for (const Dependency& d : kDependencies) {
            if (test(set, d.feature) || !test(set, d.dependent)) continue;
            assign(set, d.dependent, false);
            changed = true;
        }
        if (test(set, XEN_X86_FEATURE_ARCH_CAPS)) continue;
        for (size_t word : {kWordArchCapsLow, kWordArchCapsHigh}) set[word] = 0;
    }
}

}  // namespace hv::arch::cpu_policy
