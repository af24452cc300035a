#include "hv/x86/emulate/execute.hpp"

#include "hv/x86/cpu/bits.hpp"

namespace hv::emulate {
namespace {

/// How the opcodes that write memory are to be read.
enum class Form : uint8_t {
    kNone,
    kRegister,     // source: ModRM.reg
    kImmediate,    // source: immediate
    kAccumulator,  // source: rax, address: an offset in the instruction
    kNoSource,
    kString,
};

struct Action {
    PlanKind kind;
    Form form;
    AluOp op = AluOp::kAdd;
    bool may_lock = false;
};

constexpr Action kNothing{PlanKind::kStore, Form::kNone};

constexpr Action modify(Form form, AluOp op) {
    return {PlanKind::kModify, form, op, true};
}

/// 00–3F: eight operations, each with "memory, register" as its first two forms.
Action arithmetic(uint8_t opcode) {
    bool to_memory = (opcode & 7) < 2;
    auto op = static_cast<AluOp>(opcode >> 3);
    return to_memory && op != AluOp::kCmp ? modify(Form::kRegister, op) : kNothing;
}

Action group(const Instruction& i) {
    unsigned extension = i.reg & 7;
    switch (i.opcode) {
        case 0x80:
        case 0x81:
        case 0x83: {
            auto op = static_cast<AluOp>(extension);
            return op == AluOp::kCmp ? kNothing : modify(Form::kImmediate, op);
        }
        case 0xc6:
        case 0xc7:
            return extension == 0 ? Action{PlanKind::kStore, Form::kImmediate} : kNothing;
        case 0xf6:
        case 0xf7:
            if (extension == 2) return modify(Form::kNoSource, AluOp::kNot);
            return extension == 3 ? modify(Form::kNoSource, AluOp::kNeg) : kNothing;
        default:  // fe, ff
            if (extension == 0) return modify(Form::kNoSource, AluOp::kInc);
            return extension == 1 ? modify(Form::kNoSource, AluOp::kDec) : kNothing;
    }
}

Action one_byte_action(const Instruction& i) {
    if (i.opcode < 0x40) return arithmetic(i.opcode);
    switch (i.opcode) {
        case 0x80:
        case 0x81:
        case 0x83:
        case 0xc6:
        case 0xc7:
        case 0xf6:
        case 0xf7:
        case 0xfe:
        case 0xff:
            return group(i);
        case 0x86:
        case 0x87:
            return {PlanKind::kExchange, Form::kRegister, AluOp::kAdd, true};
        case 0x88:
        case 0x89:
            return {PlanKind::kStore, Form::kRegister};
        case 0xa2:
        case 0xa3:
            return {PlanKind::kStore, Form::kAccumulator};
        case 0xa4:
        case 0xa5:
            return {PlanKind::kMoveString, Form::kString};
        case 0xaa:
        case 0xab:
            return {PlanKind::kStoreString, Form::kString};
        default:
            return kNothing;
    }
}

Action two_byte_action(const Instruction& i) {
    switch (i.opcode) {
        case 0xab:
            return modify(Form::kRegister, AluOp::kBts);
        case 0xb3:
            return modify(Form::kRegister, AluOp::kBtr);
        case 0xbb:
            return modify(Form::kRegister, AluOp::kBtc);
        case 0xb0:
        case 0xb1:
            return {PlanKind::kCompareExchange, Form::kRegister, AluOp::kAdd, true};
        case 0xc0:
        case 0xc1:
            return {PlanKind::kExchangeAdd, Form::kRegister, AluOp::kAdd, true};
        case 0xba: {
            constexpr AluOp kOps[] = {AluOp::kBts, AluOp::kBtr, AluOp::kBtc};
            unsigned extension = i.reg & 7;
            return extension >= 5 ? modify(Form::kImmediate, kOps[extension - 5]) : kNothing;
        }
        default:
            return kNothing;
    }
}

uint8_t width_of(const Instruction& i) {
    bool is_byte =
        i.map == Map::kOneByte ? i.operand_size == 1 : i.is(Map::k0F, 0xb0) || i.is(Map::k0F, 0xc0);
    return is_byte ? 1 : i.operand_size;
}

uint64_t effective_address(const Instruction& i, const Registers& regs) {
    auto address = static_cast<uint64_t>(i.displacement);
    if (i.base == Instruction::kRip)
        address += regs.rip + i.length;
    else if (i.base != Instruction::kNoRegister)
        address += gpr(regs, i.base);
    if (i.index != Instruction::kNoRegister) address += gpr(regs, i.index) * i.scale;
    return i.address_size == 4 ? static_cast<uint32_t>(address) : address;
}

/// A bit's number in a register reaches beyond the operand: the operand is then another one.
uint64_t bit_displacement(const Plan& p) {
    unsigned bits = 8 * p.size;
    unsigned shift = 64 - bits;
    int64_t number = static_cast<int64_t>(p.source << shift) >> shift;
    return static_cast<uint64_t>((number >> (p.size == 2 ? 4 : p.size == 4 ? 5 : 6)) * p.size);
}

uint64_t register_operand(const Plan& p, const Registers& regs) {
    uint64_t value = gpr(regs, p.high_byte ? p.reg - 4u : p.reg);
    return (p.high_byte ? value >> 8 : value) & size_mask(p.size);
}

void set_register_operand(const Plan& p, Registers& regs, uint64_t value) {
    if (!p.high_byte) return merge_gpr(gpr(regs, p.reg), value, p.size);
    uint64_t& reg = gpr(regs, p.reg - 4u);
    reg = (reg & ~uint64_t{0xff00}) | ((value & 0xff) << 8);
}

Result<Action> find_action(const Instruction& i) {
    Action action = i.map == Map::kOneByte ? one_byte_action(i) : two_byte_action(i);
    if (action.form == Form::kNone) return Errno::kEOPNOTSUPP;
    bool names_memory =
        i.is_memory || action.form == Form::kString || action.form == Form::kAccumulator;
    if (!names_memory) return Errno::kEOPNOTSUPP;
    if (i.lock && !action.may_lock) return Errno::kEINVAL;
    return action;
}

}  // namespace

Segment destination_segment(const Instruction& i) {
    if (i.segment != Segment::kDefault) return i.segment;
    return i.base == kRsp || i.base == kRbp ? Segment::kSs : Segment::kDs;
}

Result<Plan> plan(const Instruction& i, const Registers& regs, uint64_t segment_base) {
    Action action = TRY(find_action(i));
    Plan p{.kind = action.kind, .op = action.op, .size = width_of(i), .reg = i.reg};
    p.high_byte = p.size == 1 && !i.rex && i.reg >= 4 && i.reg < 8;
    switch (action.form) {
        case Form::kRegister:
            p.source = register_operand(p, regs);
            break;
        case Form::kImmediate:
            p.source = static_cast<uint64_t>(i.immediate) & size_mask(p.size);
            break;
        case Form::kAccumulator:
            p.source = regs.rax & size_mask(p.size);
            break;
        default:
            break;
    }
    p.linear = segment_base + effective_address(i, regs);
    if (action.form == Form::kRegister && action.op >= AluOp::kBts) p.linear += bit_displacement(p);
    if (i.address_size == 4 && segment_base == 0) p.linear = static_cast<uint32_t>(p.linear);
    return p;
}

Step compute(const Plan& p, const Registers& regs, uint64_t old) {
    Step step{.value = p.source, .rflags = regs.rflags};
    switch (p.kind) {
        case PlanKind::kModify: {
            AluResult r = alu(p.op, old, p.source, p.size, regs.rflags);
            return {.value = r.value, .rflags = r.rflags};
        }
        case PlanKind::kExchange:
            step.reg_value = old;
            step.target = Step::Target::kReg;
            return step;
        case PlanKind::kExchangeAdd: {
            AluResult r = alu(AluOp::kAdd, old, p.source, p.size, regs.rflags);
            return {.value = r.value,
                    .rflags = r.rflags,
                    .reg_value = old,
                    .target = Step::Target::kReg};
        }
        case PlanKind::kCompareExchange: {
            uint64_t expected = regs.rax & size_mask(p.size);
            step.rflags = alu(AluOp::kCmp, expected, old, p.size, regs.rflags).rflags;
            if (expected == old) return step;
            step.write = false;
            step.reg_value = old;
            step.target = Step::Target::kAccumulator;
            return step;
        }
        default:
            return step;
    }
}

void commit(const Plan& p, const Step& step, Registers& regs) {
    regs.rflags = step.rflags;
    if (step.target == Step::Target::kReg) set_register_operand(p, regs, step.reg_value);
    if (step.target == Step::Target::kAccumulator) merge_gpr(regs.rax, step.reg_value, p.size);
}

namespace {

/// A string register or the counter, as wide as addresses are.
void add_to(uint64_t& reg, uint64_t amount, unsigned address_size) {
    reg += amount;
    if (address_size == 4) reg = static_cast<uint32_t>(reg);
}

bool repeats(const Instruction& i) {
    return i.rep || i.repne;
}  // both mean REP here

}  // namespace

bool string_finished(const Instruction& i, const Registers& regs) {
    return repeats(i) && (regs.rcx & size_mask(i.address_size)) == 0;
}

bool string_element_done(const Instruction& i, bool has_source, Registers& regs) {
    uint64_t stride = string_stride(i, regs);
    add_to(regs.rdi, stride, i.address_size);
    if (has_source) add_to(regs.rsi, stride, i.address_size);
    if (!repeats(i)) return true;
    add_to(regs.rcx, ~uint64_t{0}, i.address_size);
    return string_finished(i, regs);
}

uint64_t string_address(const Instruction& i, uint64_t index, uint64_t base) {
    return base + (index & size_mask(i.address_size));
}

}  // namespace hv::emulate
