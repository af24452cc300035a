// Numbers of the MSRs that guests read and write (AMD APM volume 2, appendix A; Intel SDM volume
// 4). Those that the hypervisor itself needs are in msr.hpp.
#pragma once

#include <cstdint>

namespace hv::guest_msr {
inline constexpr uint32_t kTsc = 0x10, kPlatformId = 0x17, kFeatureControl = 0x3a, kSpecCtrl = 0x48,
                          kPredCmd = 0x49, kUcodeRev = 0x8b, kPlatformInfo = 0xce, kMtrrCap = 0xfe,
                          kArchCapabilities = 0x10a, kFlushCmd = 0x10b,
                          kMiscFeaturesEnables = 0x140, kSysenterCs = 0x174, kSysenterEsp = 0x175,
                          kSysenterEip = 0x176, kMcgCap = 0x179, kMcgStatus = 0x17a,
                          kMcgCtl = 0x17b, kPerfStatus = 0x198, kPerfCtl = 0x199,
                          kThermStatus = 0x19c, kMiscEnable = 0x1a0, kEnergyPerfBias = 0x1b0,
                          kPat = 0x277, kPerfCapabilities = 0x345, kXss = 0xda0, kStar = 0xc0000081,
                          kLstar = 0xc0000082, kCstar = 0xc0000083, kSyscallMask = 0xc0000084,
                          kFsBase = 0xc0000100, kGsBase = 0xc0000101, kKernelGsBase = 0xc0000102,
                          kTscAux = 0xc0000103, kSyscfg = 0xc0010010, kHwcr = 0xc0010015,
                          kTopMem1 = 0xc001001a, kTopMem2 = 0xc001001d, kNbCfg = 0xc001001f,
                          kFidVidCtl = 0xc0010041, kFidVidStatus = 0xc0010042,
                          kPstateLimit = 0xc0010061, kPstateLast = 0xc001006b,
                          kTsegBase = 0xc0010112, kTsegMask = 0xc0010113,
                          kDr1AddressMask = 0xc0011019, kDr3AddressMask = 0xc001101b,
                          kDr0AddressMask = 0xc0011027, kDeCfg = 0xc0011029;
}
