// The way of a #GP from a guest's kernel: bytes at rip → prefixes → row of the table → done.
//
// These instructions have no memory operands but the strings of INS and OUTS, so the general
// decoder (emulate/decode.hpp) is not needed, and a CR access takes about a hundred instructions.
#include "hv/x86/pv/privileged.hpp"

#include <array>
#include <cstring>

#include <xen/arch-x86/cpufeatureset.h>

#include "hv/domain/domain.hpp"
#include "hv/x86/arch/cpu.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/cpu/fpu.hpp"
#include "hv/x86/cpu/native.hpp"
#include "hv/x86/cpu/policy.hpp"
#include "hv/x86/emulate/registers.hpp"
#include "hv/x86/pv/code_bytes.hpp"
#include "hv/x86/pv/control_registers.hpp"
#include "hv/x86/pv/debug_registers.hpp"
#include "hv/x86/pv/msr.hpp"
#include "hv/x86/pv/port_io.hpp"
#include "hv/x86/pv/privileged_op.hpp"
#include "hv/x86/pv/traps.hpp"

namespace hv::pv {
namespace {

using emulate::gpr;
using emulate::merge_gpr;

constexpr uint8_t kTrapInvalidOpcode = 6;

void set_pair(arch::Registers& regs, uint64_t value) {
    regs.rax = static_cast<uint32_t>(value);
    regs.rdx = value >> 32;
}
uint64_t get_pair(const arch::Registers& regs) {
    return (regs.rdx << 32) | regs.eax;
}

Answer done_if(bool ok) {
    return ok ? Answer::kDone : Answer::kRefused;
}

// --- control and debug registers: mod is ignored, the operand is always a register ---

Answer mov_from_cr(PrivilegedOp& op) {
    return done_if(read_control_register(op.vcpu, op.modrm_reg(), gpr(op.regs, op.modrm_rm())));
}
/// Checking the table, or dropping the one before, may take long, as in mmuext_op.
Answer mov_to_cr3(PrivilegedOp& op) {
    const Result<> loaded = load_base_pointer(op.vcpu, gpr(op.regs, op.modrm_rm()));
    if (!loaded.ok() && loaded.error() == Errno::kERESTART) return Answer::kAgain;
    return done_if(loaded.ok());
}
Answer mov_to_cr(PrivilegedOp& op) {
    if (op.modrm_reg() == 3) return mov_to_cr3(op);
    return done_if(write_control_register(op.vcpu, op.modrm_reg(), gpr(op.regs, op.modrm_rm())));
}

Answer mov_from_dr(PrivilegedOp& op) {
    Result<uint64_t> value = get_debug_register(op.vcpu, op.modrm_reg());
    if (!value.ok()) {
        inject_trap(kTrapInvalidOpcode);
        return Answer::kInjected;
    }
    gpr(op.regs, op.modrm_rm()) = *value;
    return Answer::kDone;
}
Answer mov_to_dr(PrivilegedOp& op) {
    Result<> result = set_debug_register(op.vcpu, op.modrm_reg(), gpr(op.regs, op.modrm_rm()));
    if (result.ok()) return Answer::kDone;
    if (result.error() != Errno::kENODEV) return Answer::kRefused;
    inject_trap(kTrapInvalidOpcode);
    return Answer::kInjected;
}

Answer clts(PrivilegedOp& op) {
    arch::fpu::set_guest_ts(op.vcpu, false);
    return Answer::kDone;
}

// --- the 0F 01 group: told apart by the whole ModRM byte ---

/// XSETBV: only XCR0 exists, and only once the guest has set CR4.OSXSAVE.
Answer xsetbv(PrivilegedOp& op) {
    if (!(op.vcpu.arch.pv.cr4_guest & cr4::kOsxsave)) {
        inject_trap(kTrapInvalidOpcode);
        return Answer::kInjected;
    }
    if (op.regs.ecx != 0) return Answer::kRefused;
    return done_if(arch::fpu::set_xcr0(op.vcpu, get_pair(op.regs)).ok());
}

/// CR4.TSD makes RDTSC privileged, and a guest's kernel is not in ring 0.
Answer rdtsc(PrivilegedOp& op) {
    set_pair(op.regs, native::rdtsc());
    return Answer::kDone;
}
Answer rdtscp(PrivilegedOp& op) {
    if (!op.vcpu.domain->arch.cpu_policy->has(XEN_X86_FEATURE_RDTSCP)) return Answer::kRefused;
    op.regs.rcx = op.vcpu.arch.pv.tsc_aux;
    return rdtsc(op);
}

/// LMSW cannot clear PE and reaches TS, EM and MP only; of these, a guest has TS.
Answer lmsw(PrivilegedOp& op) {
    constexpr uint64_t kReach = cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs;
    uint64_t value = (gpr(op.regs, op.modrm_rm()) & kReach) | (kVisibleCr0 & ~kReach) | cr0::kPe;
    return done_if(write_control_register(op.vcpu, 0, value));
}

Answer group_0f01(PrivilegedOp& op) {
    constexpr unsigned kLmsw = 6;
    switch (op.modrm) {
        case 0xd1:
            return xsetbv(op);
        case 0xf9:
            return rdtscp(op);
        default:
            break;
    }
    bool is_register = op.modrm >> 6 == 3;
    return is_register && ((op.modrm >> 3) & 7) == kLmsw ? lmsw(op) : Answer::kRefused;
}

// --- caches ---

/// A domain without devices has no way to make memory and caches differ.
Answer wbinvd(PrivilegedOp& op) {
    if (op.vcpu.domain->is_hardware) arch::flush_cache();
    return Answer::kDone;
}

// --- MSRs, CPUID ---

Answer rdmsr(PrivilegedOp& op) {
    uint64_t value;
    if (!read_msr(op.vcpu, op.regs.ecx, value)) return Answer::kRefused;
    set_pair(op.regs, value);
    return Answer::kDone;
}
Answer wrmsr(PrivilegedOp& op) {
    return done_if(write_msr(op.vcpu, op.regs.ecx, get_pair(op.regs)));
}

void answer_cpuid(const Vcpu& vcpu, arch::Registers& regs, bool enlightened) {
    arch::CpuidLeaf leaf = arch::cpu_policy::guest_cpuid(vcpu, regs.eax, regs.ecx, enlightened);
    regs.rax = leaf.a;
    regs.rbx = leaf.b;
    regs.rcx = leaf.c;
    regs.rdx = leaf.d;
}

/// Arrives here where the CPU lets CPUID fault. The guest may have asked for that fault itself.
Answer cpuid(PrivilegedOp& op) {
    constexpr uint64_t kCpuidFaulting = 1;
    if (!op.vcpu.arch.pv.kernel_mode && (op.vcpu.arch.pv.misc_features & kCpuidFaulting))
        return Answer::kRefused;
    answer_cpuid(op.vcpu, op.regs, false);
    return Answer::kDone;
}

// --- interrupt flag ---

/// IF is not virtualised (a PV guest masks events in its vcpu_info): permitted, without effect.
Answer cli_sti(PrivilegedOp& op) {
    return done_if(iopl_permits(op.vcpu));
}

// --- the table ---

enum Flags : uint8_t { kAnyMode = 0, kKernel = 1, kModRm = 2, kImm8 = 4 };

struct Row {
    uint16_t opcode;  // 0x100 + the byte behind 0F, or the one byte
    uint8_t flags;
    Answer (*run)(PrivilegedOp&);
};

constexpr Row kRows[] = {
    {0x000, kAnyMode, nullptr},  // not ours
    {0x06c, kAnyMode, string_io},
    {0x06d, kAnyMode, string_io},
    {0x06e, kAnyMode, string_io},
    {0x06f, kAnyMode, string_io},
    {0x0e4, kImm8, port_io},
    {0x0e5, kImm8, port_io},
    {0x0e6, kImm8, port_io},
    {0x0e7, kImm8, port_io},
    {0x0ec, kAnyMode, port_io},
    {0x0ed, kAnyMode, port_io},
    {0x0ee, kAnyMode, port_io},
    {0x0ef, kAnyMode, port_io},
    {0x0fa, kAnyMode, cli_sti},
    {0x0fb, kAnyMode, cli_sti},
    {0x101, kKernel | kModRm, group_0f01},
    {0x106, kKernel, clts},
    {0x108, kKernel, wbinvd},
    {0x109, kKernel, wbinvd},
    {0x120, kKernel | kModRm, mov_from_cr},
    {0x121, kKernel | kModRm, mov_from_dr},
    {0x122, kKernel | kModRm, mov_to_cr},
    {0x123, kKernel | kModRm, mov_to_dr},
    {0x130, kKernel, wrmsr},
    {0x131, kKernel, rdtsc},
    {0x132, kKernel, rdmsr},
    {0x1a2, kAnyMode, cpuid},
};

constexpr std::array<uint8_t, 512> make_index() {
    std::array<uint8_t, 512> index{};
    for (unsigned i = 0; i < std::size(kRows); ++i)
        index[kRows[i].opcode] = static_cast<uint8_t>(i);
    index[0] = 0;
    return index;
}
constexpr std::array<uint8_t, 512> kIndex = make_index();

/// Takes one prefix; false: `byte` is none. REX counts only right in front of the opcode.
bool take_prefix(PrivilegedOp& op, uint8_t byte) {
    if ((byte & 0xf0) == 0x40) {
        op.rex = byte;
        return true;
    }
    switch (byte) {
        case 0x66:
            op.operand16 = true;
            break;
        case 0x67:
            op.address32 = true;
            break;
        case 0xf2:
        case 0xf3:
            op.repeat = true;
            break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            op.segment = 0;
            break;  // base 0 in 64-bit mode
        case 0x64:
        case 0x65:
            op.segment = byte;
            break;
        default:
            return false;
    }
    op.rex = 0;
    return true;
}

/// Reads prefixes, opcode and operand bytes; the row, or nullptr if it is none of ours.
const Row* decode(PrivilegedOp& op, CodeBytes& code) {
    unsigned at = 0;
    uint8_t byte = code[0];
    while (take_prefix(op, byte)) {
        if (++at >= CodeBytes::kMax) return nullptr;
        byte = code[at];
    }
    op.opcode = byte;
    ++at;
    if (byte == 0x0f) op.opcode = 0x100 | code[at++];
    const Row* row = &kRows[kIndex[op.opcode]];
    if (!row->run) return nullptr;
    if (row->flags & kModRm) op.modrm = code[at++];
    if (row->flags & kImm8) op.immediate = code[at++];
    op.length = at;
    return row;
}

/// Privileged instructions are emulated in 64-bit code only. The hypervisor's flat selector is
/// what kernels run on; of any other, the descriptor's L bit tells (LAR sees the guest's tables).
bool in_64bit_code(const arch::Registers& regs) {
    if (regs.cs == FLAT_RING3_CS64) [[likely]]
        return true;
    constexpr uint32_t kLong = 1 << 21;
    uint32_t rights = 0;
    asm("lar %1, %0" : "+r"(rights) : "r"(uint32_t{regs.cs}) : "cc");
    return rights & kLong;
}

[[gnu::always_inline]] inline void retire(PrivilegedOp& op) {
    if (!op.again) op.regs.rip += op.length;
    after_instruction(op.vcpu, op.regs, op.breakpoints);
}

[[gnu::always_inline]] inline bool run(const Row& row, PrivilegedOp& op) {
    if ((row.flags & kKernel) && !op.vcpu.arch.pv.kernel_mode) return false;
    Answer answer = row.run(op);
    if (answer == Answer::kDone) retire(op);
    return answer != Answer::kRefused;
}

/// The general way: any prefixes, bytes that may end with the page.
[[gnu::noinline]] bool emulate_any(arch::Registers& regs) {
    if (!in_64bit_code(regs)) return false;
    CodeBytes code(regs.rip);
    PrivilegedOp op(regs, arch::current());
    const Row* row = decode(op, code);
    // The page went away since: run the instruction again, the CPU will tell.
    if (code.fault()) [[unlikely]]
        return code.size() < CodeBytes::kMax;
    return row && run(*row, op);
}

/// The short way, for what a kernel does all the time: 0F, an opcode, perhaps ModRM.
bool emulate_0f(arch::Registers& regs, uint64_t code) {
    auto opcode = static_cast<uint16_t>(0x100 | ((code >> 8) & 0xff));
    const Row& row = kRows[kIndex[opcode]];
    if (!row.run) return false;
    PrivilegedOp op(regs, arch::current());
    op.opcode = opcode;
    op.modrm = static_cast<uint8_t>(code >> 16);
    op.length = row.flags & kModRm ? 3 : 2;
    return run(row, op);
}

}  // namespace

bool emulate_privileged(arch::Registers& regs) {
    if (regs.cs == FLAT_RING3_CS64) [[likely]] {
        uint64_t code = load_code(regs.rip);
        if ((code & 0xff) == 0x0f) return emulate_0f(regs, code);
    }
    return emulate_any(regs);
}

bool emulate_invalid_opcode(arch::Registers& regs) {
    constexpr uint8_t kForcedCpuid[] = {0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2};
    CodeBytes code(regs.rip);
    if (code[0] != 0x0f || code[1] != 0x0b || !code.fetch(sizeof(kForcedCpuid))) return false;
    if (memcmp(code.data(), kForcedCpuid, sizeof(kForcedCpuid)) != 0) return false;
    Vcpu& vcpu = arch::current();
    answer_cpuid(vcpu, regs, true);
    PrivilegedOp op(regs, vcpu);
    op.length = sizeof(kForcedCpuid);
    retire(op);
    return true;
}

}  // namespace hv::pv
