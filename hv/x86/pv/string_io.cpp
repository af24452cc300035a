// IN, OUT and their string forms.
#include "arch/guest_memory.hpp"
#include "hv/hypercall/outcome.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/cpu/segment_base.hpp"
#include "hv/x86/emulate/registers.hpp"
#include "hv/x86/pv/debug_registers.hpp"
#include "hv/x86/pv/port_io.hpp"
#include "hv/x86/pv/privileged_op.hpp"
#include "hv/x86/pv/traps.hpp"

namespace hv::pv {
namespace {

/// Bit 0 of all these opcodes: 0 a byte, 1 as the prefix says (there is no 64-bit form).
unsigned size_of(const PrivilegedOp& op) {
    return !(op.opcode & 1) ? 1 : op.operand16 ? 2 : 4;
}

/// Elements per trip: each may be slow (a configuration cycle), and interrupts wait meanwhile.
constexpr uint64_t kElementsPerTrip = 256;

uint64_t segment_base(const PrivilegedOp& op) {
    if (op.segment == 0x64) return cpu::read_fs_base();
    if (op.segment == 0x65) return cpu::read_gs_base();
    return 0;
}

void advance(const PrivilegedOp& op, uint64_t& index, unsigned bytes) {
    index += op.regs.rflags & eflags::kDf ? -uint64_t{bytes} : bytes;
    if (op.address32) index = static_cast<uint32_t>(index);
}

/// One element between memory at rdi or rsi and the port; false: a #PF was handed to the guest.
bool move_one(PrivilegedOp& op, bool input, uint16_t port, unsigned bytes) {
    constexpr uint32_t kPresent = 1, kWrite = 2, kUser = 4;
    uint64_t& index = input ? op.regs.rdi : op.regs.rsi;
    uint64_t offset = op.address32 ? static_cast<uint32_t>(index) : index;
    uint64_t linear = offset + (input ? 0 : segment_base(op));
    uint32_t value = 0;
    Result<> moved;
    if (input) {
        // Ask for the page before the device gives the value away.
        moved = arch::copy_from_guest(&value, linear, bytes);
        if (moved.ok()) {
            value = read_port(op.vcpu, port, bytes);
            moved = arch::copy_to_guest(linear, &value, bytes);
        }
    } else {
        moved = arch::copy_from_guest(&value, linear, bytes);
        if (moved.ok()) write_port(op.vcpu, port, bytes, value);
    }
    if (!moved.ok()) {
        uint32_t mode = op.vcpu.arch.pv.kernel_mode ? 0 : kUser;
        inject_page_fault(linear, mode | (input ? kWrite : 0) | (input ? kPresent : 0));
        return false;
    }
    advance(op, index, bytes);
    return true;
}

}  // namespace

Answer port_io(PrivilegedOp& op) {
    constexpr unsigned kPortInDx = 8, kOutput = 2;
    unsigned bytes = size_of(op);
    uint16_t port = op.opcode & kPortInDx ? op.regs.dx : op.immediate;
    if (!port_access_permitted(op.vcpu, port, bytes)) return Answer::kRefused;
    op.breakpoints = io_breakpoints_hit(op.vcpu, port, bytes);
    if (op.opcode & kOutput)
        write_port(op.vcpu, port, bytes, op.regs.eax & emulate::size_mask(bytes));
    else
        emulate::merge_gpr(op.regs.rax, read_port(op.vcpu, port, bytes), bytes);
    return Answer::kDone;
}

Answer string_io(PrivilegedOp& op) {
    constexpr unsigned kOutput = 2;
    unsigned bytes = size_of(op);
    bool input = !(op.opcode & kOutput);
    uint16_t port = op.regs.dx;
    if (!port_access_permitted(op.vcpu, port, bytes)) return Answer::kRefused;

    uint64_t count = 1;
    if (op.repeat) count = op.address32 ? op.regs.ecx : op.regs.rcx;
    if (count) op.breakpoints = io_breakpoints_hit(op.vcpu, port, bytes);
    uint64_t trip = count < kElementsPerTrip ? count : kElementsPerTrip;
    if (op.breakpoints && trip > 1) trip = 1;
    for (uint64_t i = 0; i < trip; ++i) {
        if (!move_one(op, input, port, bytes)) return Answer::kInjected;
        if (!op.repeat) continue;
        if (op.address32)
            op.regs.rcx = op.regs.ecx - 1;
        else
            --op.regs.rcx;
    }
    op.again = count > trip;
    return Answer::kDone;
}

}  // namespace hv::pv
