// What each CPU has of its own in memory, all in one window of the address space so that
// page-table isolation shows a guest's CPU nothing but this:
//
//   + 0x00000 stack (32 KiB, with CpuInfo at its top; cpu_info.hpp)
//   + 0x08000 GDT page: the entries above FIRST_RESERVED_GDT_ENTRY, mapped into every vCPU's window
//   + 0x09000 TSS
//   + 0x0a000 SYSCALL stubs (read-only, executable)
#pragma once

#include "hv/x86/cpu/cpu_info.hpp"
#include "hv/x86/paging/layout.hpp"

namespace hv::cpu {

inline constexpr uint64_t kAreaBytes = 64 * kKiB;
inline constexpr uint64_t kGdtPageOffset = STACK_SIZE;
inline constexpr uint64_t kTssOffset = kGdtPageOffset + kPageSize;
inline constexpr uint64_t kStubOffset = kTssOffset + kPageSize;
inline constexpr uint64_t kAreaUsed = kStubOffset + kPageSize;

constexpr uint64_t area_address(CpuId cpu) {
    return paging::kCpuAreas + cpu * kAreaBytes;
}

/// The frame of a CPU's GDT page; goes into page 14 of the GDT window of the vCPU it runs.
Mfn gdt_page_mfn(CpuId cpu);
/// GDTR for the window of a vCPU / for a CPU without one; entries below 0xe000 are then not there.
void load_gdt(uint64_t base);
uint64_t own_gdt_base(CpuId cpu);
/// Where the IDT lies in the image.
uint64_t idt_address();
/// LDTR := the window at `base` with that many entries; 0: none.
void load_ldt(CpuId cpu, uint64_t base, uint32_t entries);

}  // namespace hv::cpu
