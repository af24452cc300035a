// One PV vCPU and what the emulation of its instructions asks of the rest: memory by pages that
// may be missing, a page table, configuration space, and a record of the exceptions it was handed.
//
// It defines the functions of the other rooms, so include it in one source file of a test only.
#pragma once

#include <cstring>
#include <map>
#include <vector>

#include "arch/cpu.hpp"
#include "arch/guest_memory.hpp"
#include "arch/time.hpp"
#include "fake/no_trace.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/cpu/fpu.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/cpu/policy.hpp"
#include "hv/x86/irq/pci.hpp"
#include "hv/x86/pv/code_bytes.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/pin.hpp"
#include "hv/x86/pv/traps.hpp"

namespace hv {

struct PvMachine {
    Domain domain;
    Vcpu vcpu{domain, VcpuId{0}};
    vcpu_info info{};
    arch::CpuPolicy policy;
    arch::CpuPolicy host;

    std::map<uint64_t, std::vector<uint8_t>> pages;  ///< by page number; absent ones fault
    struct Trap {
        int vector;
        uint32_t error;
        uint64_t cr2;
    };
    std::vector<Trap> traps;

    uint64_t table_page = 0;  ///< linear address of the page that is an L1 table; 0: none
    std::vector<uint64_t> table_writes;  ///< entries' addresses, in order
    unsigned lose_writes = 0;            ///< this many compare-exchanges find another value
    bool refuse_entries = false;

    uint64_t new_cr3 = 0;
    bool table_is_parked = false;  // one is still being dropped, and does not get ready
    unsigned toggles = 0;
    struct ConfigAccess {
        uint32_t bdf, reg;
        unsigned size;
        uint32_t value;
    };
    std::vector<ConfigAccess> config;

    PvMachine();
    ~PvMachine();
    void map(uint64_t linear) { pages[linear / kPageSize].resize(kPageSize); }
    void put(uint64_t linear, const std::vector<uint8_t>& bytes) {
        for (size_t i = 0; i < bytes.size(); ++i) *at(linear + i) = bytes[i];
    }
    uint8_t* at(uint64_t linear) {
        auto page = pages.find(linear / kPageSize);
        return page == pages.end() ? nullptr : &page->second[linear % kPageSize];
    }
};

inline PvMachine* pv_machine;

inline PvMachine::PvMachine() {
    pv_machine = this;
    domain.arch.cpu_policy = &policy;
    vcpu.info = &info;
    for (auto& t : vcpu.arch.pv.traps) t.address = 0xffffffff81000000;
}
inline PvMachine::~PvMachine() {
    domain.arch.cpu_policy = nullptr;
    pv_machine = nullptr;
}

namespace arch {

CpuId this_cpu() {
    return 0;
}
Vcpu& current() {
    return pv_machine->vcpu;
}
void flush_cache() {}
uint64_t tsc_khz() {
    return 1000000;
}

Result<> copy_from_guest(void* to, uint64_t linear, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) {
        const uint8_t* p = pv_machine->at(linear + i);
        if (!p) return Errno::kEFAULT;
        static_cast<uint8_t*>(to)[i] = *p;
    }
    return {};
}
Result<> copy_to_guest(uint64_t linear, const void* from, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) {
        uint8_t* p = pv_machine->at(linear + i);
        if (!p) return Errno::kEFAULT;
        *p = static_cast<const uint8_t*>(from)[i];
    }
    return {};
}

namespace fpu {
void set_guest_ts(Vcpu& vcpu, bool on) {
    uint64_t& cr0 = vcpu.arch.pv.cr0_guest;
    cr0 = on ? cr0 | 8 : cr0 & ~uint64_t{8};
}
Result<> set_xcr0(Vcpu& vcpu, uint64_t value) {
    if (!(value & 1)) return Errno::kEINVAL;
    vcpu.arch.xcr0 = value;
    return {};
}
}  // namespace fpu

namespace cpu_policy {
const CpuPolicy& host() {
    return pv_machine->host;
}
}  // namespace cpu_policy
}  // namespace arch

namespace pv {

void inject_trap(uint8_t vector) {
    pv_machine->traps.push_back({vector, 0, 0});
}
void inject_trap(uint8_t vector, uint32_t error) {
    pv_machine->traps.push_back({vector, error, 0});
}
void inject_page_fault(uint64_t cr2, uint32_t error) {
    pv_machine->traps.push_back({14, error, cr2});
}
void toggle_mode(Vcpu& vcpu) {
    ++pv_machine->toggles;
    vcpu.arch.pv.kernel_mode = !vcpu.arch.pv.kernel_mode;
}
Result<> finish_parked(Vcpu&) {
    if (pv_machine->table_is_parked) return Errno::kERESTART;
    return {};
}
Result<> new_base_pointer(Mfn mfn) {
    if (mfn == Mfn{0}) return Errno::kEINVAL;
    pv_machine->new_cr3 = mfn.raw();
    return {};
}
uint64_t load_code(uint64_t rip) {
    uint64_t bytes = 0;
    bool ok = rip % kPageSize <= kPageSize - 8 && arch::copy_from_guest(&bytes, rip, 8).ok();
    return ok ? bytes : 0;
}
bool is_page_table_address(uint64_t linear) {
    return pv_machine->table_page && linear / kPageSize == pv_machine->table_page / kPageSize;
}
Result<> write_pte_checked(uint64_t linear, uint64_t old_pte, uint64_t new_pte, bool compare,
                           bool& matched) {
    PvMachine& m = *pv_machine;
    matched = false;
    if (!is_page_table_address(linear) || m.refuse_entries) return Errno::kEINVAL;
    if (compare && m.lose_writes) {
        --m.lose_writes;
        return {};
    }
    uint64_t now;
    memcpy(&now, m.at(linear), 8);
    matched = !compare || now == old_pte;
    if (!matched) return {};
    memcpy(m.at(linear), &new_pte, 8);
    m.table_writes.push_back(linear);
    return {};
}

}  // namespace pv

namespace irq {
uint32_t pci_config_read(Bdf bdf, uint32_t reg, unsigned size) {
    pv_machine->config.push_back({bdf.raw(), reg, size, 0});
    return 0x12345678 >> (8 * (reg & 3));
}
void pci_config_write(Bdf bdf, uint32_t reg, unsigned size, uint32_t value) {
    pv_machine->config.push_back({bdf.raw(), reg, size, value});
}
}  // namespace irq

namespace boot {
const Options& options() {
    static const Options o{};
    return o;
}
}  // namespace boot
namespace acpi {
const Info& info() {
    static const Info i{};
    return i;
}
}  // namespace acpi
namespace cpu {
Features detected_features;
}  // namespace cpu
namespace heap {
void release(void*) {}
}  // namespace heap

bool log_enabled(LogLevel, bool) {
    return false;
}
void log_args(LogLevel, bool, std::string_view, const base::FormatArg*, size_t) {}

}  // namespace hv

namespace base {
void spin_wait() {}
void note_lock_taken(uint8_t) {}
void note_lock_dropped(uint8_t) {}
}  // namespace base
