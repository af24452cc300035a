// A vCPU's extended state as the tools move it between machines: the XSAVE area in its standard
// format (AMD APM volume 2, 11.5.3), cut behind the last component that was ever in use.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {
struct Vcpu;

namespace arch::fpu {

/// The components that an image can hold here; 0 where the processor has no XSAVE.
uint64_t image_components();
/// Those that an image of this vCPU holds: x87 and SSE are saved with whatever it uses.
uint64_t image_components(const Vcpu& vcpu);
/// How long an image of these components is; 0 for none.
size_t image_bytes(uint64_t components);
/// Writes the image of a stopped vCPU; `into` has image_bytes() of its components.
void get_image(const Vcpu& vcpu, std::span<uint8_t> into);
/// Takes XCR0, what it ever was, and an image over into a stopped vCPU. kEINVAL: not what its
/// guest may have, a length that does not fit, or reserved bits; kEOPNOTSUPP: compacted format.
Result<> set_image(Vcpu& vcpu, uint64_t xcr0, uint64_t xcr0_accum, std::span<const uint8_t> image);

}  // namespace arch::fpu
}  // namespace hv
