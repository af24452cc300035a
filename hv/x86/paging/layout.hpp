// Where things lie in the hypervisor's half of the address space. Each line is one L4 slot
// (512 GiB) unless it says more; the ABI gives us 0xffff8000… to 0xffff87ff…
#pragma once

#include <cstddef>
#include <cstdint>

namespace hv::paging {

inline constexpr uint64_t kM2p = 0xffff800000000000;          ///< read-only to guests (ABI)
inline constexpr uint64_t kPerDomain = 0xffff810000000000;    ///< each vCPU's GDT and LDT
inline constexpr uint64_t kDeviceMap = 0xffff818000000000;    ///< device registers, firmware tables
inline constexpr uint64_t kM2pWritable = 0xffff828000000000;  ///< the M2P for us to write
inline constexpr uint64_t kImage = 0xffff82d040000000;        ///< the image: + its physical address
/// Stack, GDT, TSS, stubs of each CPU: near the image, so that a stub reaches it by a direct jump.
inline constexpr uint64_t kCpuAreas = 0xffff82d080000000;
// arch::kFrameTable, 0xffff82e000000000: PageInfo of every frame (16 GiB)
inline constexpr uint64_t kDirectMapStart = 0xffff830000000000;  ///< ten slots: 5 TiB of RAM

inline constexpr size_t kSlotM2p = 256, kSlotPerDomain = 258, kSlotImage = 261;
/// Maps nothing: an entry that is not present, in which a guest's L4 keeps its stamp
/// (isolation.hpp).
inline constexpr size_t kSlotStamp = 257;

// A vCPU's window in the per-domain slot: 16 pages of GDT, then 16 of LDT.
inline constexpr size_t kGdtPages = 16;
inline constexpr size_t kLdtPages = 16;
inline constexpr uint64_t kVcpuWindow = (kGdtPages + kLdtPages) * 4096;
constexpr uint64_t gdt_address(uint32_t vcpu) {
    return kPerDomain + vcpu * kVcpuWindow;
}
constexpr uint64_t ldt_address(uint32_t vcpu) {
    return gdt_address(vcpu) + kGdtPages * 4096;
}

}  // namespace hv::paging
