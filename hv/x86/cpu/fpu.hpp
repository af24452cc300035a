// The FPU, SSE and AVX state of vCPUs: saved and restored whole on every switch (eager), so that
// no register of one guest is ever left for another, and no #NM is needed to get at one's own.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {
struct Vcpu;

namespace arch::fpu {

/// On each CPU that comes up, after cpu_policy::init(): CR0, CR4.OSFXSR/OSXMMEXCPT/OSXSAVE, XCR0.
void init_cpu();

/// Gives a new vCPU a save area in its initial state (XINIT); kENOMEM.
Result<> init_vcpu(Vcpu& vcpu);
void destroy_vcpu(Vcpu& vcpu);

/// Saves the registers of `vcpu`, which is loaded on this CPU, into its area. Leaves CR0.TS clear.
void save(Vcpu& vcpu);
/// Loads the registers of `vcpu`, and CR0.TS as its guest wants it. CR0.TS must be clear before.
void restore(Vcpu& vcpu);

/// Makes CR0.TS on this CPU what `vcpu` (which is current) wants: after fpu_taskswitch, CLTS, CR0
/// writes and before delivering #NM.
void set_guest_ts(Vcpu& vcpu, bool on);

/// XCR0 := value for the current vCPU; kEINVAL unless the architecture and its policy allow it.
Result<> set_xcr0(Vcpu& vcpu, uint64_t value);

/// The legacy 512 bytes (FXSAVE format) of a vCPU that is not running: vcpu_guest_context.fpu_ctxt.
/// Setting makes everything beyond x87 and SSE its initial state; reserved MXCSR bits are kEINVAL.
Result<> set_legacy(Vcpu& vcpu, const void* fxsave_image);
void get_legacy(const Vcpu& vcpu, void* fxsave_image);
/// Whether the processor takes this MXCSR (reserved bits are #GP when it is loaded).
bool mxcsr_is_valid(uint32_t mxcsr);
/// The save area in its initial state; XCR0 stays.
void reset_area(Vcpu& vcpu);
/// Everything as at power-on (VCPUOP_initialise without VGCF_I387_VALID).
void reset(Vcpu& vcpu);

}  // namespace arch::fpu
}  // namespace hv
