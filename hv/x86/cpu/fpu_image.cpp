#include "hv/x86/cpu/fpu_image.hpp"

#include <algorithm>
#include <cstring>

#include <xen/arch-x86/cpufeatureset.h>

#include "hv/domain/domain.hpp"
#include "hv/x86/cpu/fpu.hpp"
#include "hv/x86/cpu/policy.hpp"
#include "hv/x86/cpu/xsave.hpp"

namespace hv::arch::fpu {
namespace {

constexpr size_t kFixedBytes = sizeof(LegacyArea) + sizeof(XsaveHeader);
constexpr unsigned kFirstExtended = 2;  // components 0 and 1 lie in the legacy area

/// CPUID leaf 0xd tells of each component: a is its length, b where it lies.
const CpuidLeaf& place_of(unsigned component) {
    return cpu_policy::host().xstate[component];
}

template <class Fn>
void for_each_extended(uint64_t components, Fn fn) {
    for (unsigned n = kFirstExtended; n < 63; ++n)
        if (components >> n & 1) fn(n);
}

Result<> check_header(const uint8_t* image, uint64_t accum) {
    XsaveHeader header;
    memcpy(&header, image + sizeof(LegacyArea), sizeof header);
    if (header.xcomp_bv) return Errno::kEOPNOTSUPP;
    if (header.xstate_bv & ~accum) return Errno::kEINVAL;
    for (const uint64_t word : header.reserved)
        if (word) return Errno::kEINVAL;
    LegacyArea legacy;
    memcpy(&legacy, image, sizeof legacy);
    return mxcsr_is_valid(legacy.mxcsr) ? Result<>{} : Errno::kEINVAL;
}

}  // namespace

uint64_t image_components() {
    const CpuPolicy& host = cpu_policy::host();
    return host.has(XEN_X86_FEATURE_XSAVE) ? host.xcr0_max() : 0;
}

uint64_t image_components(const Vcpu& vcpu) {
    return image_components() ? vcpu.arch.xcr0_accum | xcr0::kX87 | xcr0::kSse : 0;
}

size_t image_bytes(uint64_t components) {
    if (!components) return 0;
    size_t end = kFixedBytes;
    for_each_extended(components, [&](unsigned n) {
        end = std::max(end, size_t{place_of(n).a} + place_of(n).b);
    });
    return end;
}

void get_image(const Vcpu& vcpu, std::span<uint8_t> into) {
    if (into.size() < kFixedBytes) return;
    memcpy(into.data(), vcpu.arch.xsave_area, into.size());
    XsaveHeader header;
    memcpy(&header, into.data() + sizeof(LegacyArea), sizeof header);
    // XSAVE does not write components that are in their initial state: what lies there is old.
    get_legacy(vcpu, into.data());
    for_each_extended(vcpu.arch.xcr0_accum & ~header.xstate_bv,
                      [&](unsigned n) { memset(into.data() + place_of(n).b, 0, place_of(n).a); });
}

Result<> set_image(Vcpu& vcpu, uint64_t xcr0, uint64_t xcr0_accum, std::span<const uint8_t> image) {
    const uint64_t allowed = vcpu.domain->arch.cpu_policy->xcr0_max() & image_components();
    if (!valid_xcr0(xcr0_accum, allowed) || !valid_xcr0(xcr0, xcr0_accum)) return Errno::kEINVAL;
    if (!image.empty() && image.size() < kFixedBytes) return Errno::kEINVAL;
    if (!image.empty()) TRY(check_header(image.data(), xcr0_accum));
    if (!image.empty() && image.size() != image_bytes(xcr0_accum)) return Errno::kEINVAL;
    vcpu.arch.xcr0 = xcr0;
    vcpu.arch.xcr0_accum = xcr0_accum;
    if (image.empty()) return {};
    reset_area(vcpu);
    memcpy(vcpu.arch.xsave_area, image.data(), image.size());
    return {};
}

}  // namespace hv::arch::fpu
