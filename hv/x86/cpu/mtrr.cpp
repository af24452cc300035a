#include "hv/x86/cpu/mtrr.hpp"

#include "arch/domain.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/native.hpp"

namespace hv::cpu {

// AMD64 manual vol. 2, 7.7.2 and 7.7.3.
Result<MemoryTypeRange> variable_mtrr(uint32_t number) {
    constexpr uint32_t kHasMtrrs = 1 << 12;  // CPUID 1, EDX
    constexpr uint32_t kCapability = 0xfe, kFirstBase = 0x200;
    constexpr uint64_t kCount = 0xff, kValid = 1 << 11;
    if (!(native::cpuid(1).d & kHasMtrrs)) return Errno::kEINVAL;
    if (number >= (arch::read_msr(kCapability) & kCount)) return Errno::kEINVAL;
    const uint64_t base = arch::read_msr(kFirstBase + 2 * number);
    const uint64_t mask = arch::read_msr(kFirstBase + 2 * number + 1);
    if (!(mask & kValid)) return MemoryTypeRange{};
    // The mask's zeros below its lowest one are the range's size; it has to be contiguous.
    const uint64_t frames = arch::machine_frame_limit() - (mask >> kPageShift);
    return MemoryTypeRange{Mfn{base >> kPageShift}, frames, static_cast<uint8_t>(base)};
}

}  // namespace hv::cpu
