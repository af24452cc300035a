// Carries out an instruction that writes memory, on a memory that the caller provides.
//
//   plan()      decides once: which write, at which linear address, how wide, with what source
//   compute()   what one step makes of the old value: new value, flags, register results
//   execute()   reads, computes, writes; a read-modify-write ends in a compare-exchange, so that
//               it is atomic with or without a LOCK prefix
//
// Nothing of `regs` changes until memory has been written. rip moves behind the instruction only
// when all of it is done: a repeated string instruction that stops in the middle resumes there.
#pragma once

#include <concepts>

#include "hv/x86/emulate/alu.hpp"
#include "hv/x86/emulate/decode.hpp"
#include "hv/x86/emulate/registers.hpp"

namespace hv::emulate {

/// What execution needs of memory. Sizes are 1, 2, 4 or 8; addresses linear, wrapped as the mode
/// wants. An error ends the execution and is handed to the caller of execute().
template <class M>
concept GuestMemory = requires(M m, uint64_t linear, uint64_t value, unsigned size) {
    { m.read(linear, size) } -> std::same_as<Result<uint64_t>>;
    { m.write(linear, value, size) } -> std::same_as<Result<>>;
    /// (linear, expected, desired, size): writes if memory holds `expected`, and says whether.
    { m.compare_exchange(linear, value, value, size) } -> std::same_as<Result<bool>>;
    /// The base of a segment; in 64-bit mode only those of FS and GS are not 0.
    { m.segment_base(Segment::kFs) } -> std::same_as<uint64_t>;
};

enum class PlanKind : uint8_t {
    kStore,
    kModify,
    kExchange,
    kCompareExchange,
    kExchangeAdd,
    kStoreString,
    kMoveString
};

struct Plan {
    PlanKind kind;
    AluOp op = AluOp::kAdd;  ///< kModify
    uint8_t size = 0;
    uint8_t reg = 0;         ///< the register operand
    bool high_byte = false;  ///< it is AH, CH, DH or BH
    uint64_t linear = 0;     ///< the destination
    uint64_t source = 0;     ///< second operand, if it does not come from memory
};

/// The instruction as a write; kEOPNOTSUPP: not one of those that write memory (and are known);
/// kEINVAL: #UD (LOCK where it is not allowed).
Result<Plan> plan(const Instruction& i, const Registers& regs, uint64_t segment_base);
/// The segment that the destination lies in.
Segment destination_segment(const Instruction& i);

struct Step {
    uint64_t value;     ///< for memory
    bool write = true;  ///< false: CMPXCHG found another value (memory still gets its own back)
    uint64_t rflags;
    uint64_t reg_value = 0;
    enum class Target : uint8_t { kNone, kReg, kAccumulator } target = Target::kNone;
};
/// What `old` in memory becomes.
Step compute(const Plan& plan, const Registers& regs, uint64_t old);
/// Register results and flags of a step whose write has happened.
void commit(const Plan& plan, const Step& step, Registers& regs);

enum class Progress : uint8_t {
    kDone,   ///< rip is behind the instruction
    kAgain,  ///< rip is at it: run or emulate it again
};

/// How often a compare-exchange may lose, and how many elements of a string are moved, before the
/// guest gets the chance to take an interrupt.
inline constexpr unsigned kMaxTries = 16;
inline constexpr unsigned kMaxElements = 64;

/// How far string registers move per element, DF considered.
inline uint64_t string_stride(const Instruction& i, const Registers& regs) {
    constexpr uint64_t kDirection = 1 << 10;
    return regs.rflags & kDirection ? -uint64_t{i.operand_size} : i.operand_size;
}
/// Advances rdi (and rsi), and counts rcx down under REP, after an element; true when it was the
/// last one.
bool string_element_done(const Instruction& i, bool has_source, Registers& regs);
/// Whether REP has nothing (more) to do.
bool string_finished(const Instruction& i, const Registers& regs);
/// Linear address of the destination (rdi) or source (rsi, `base` is its segment's).
uint64_t string_address(const Instruction& i, uint64_t index, uint64_t base);

namespace detail {

template <GuestMemory M>
Result<Progress> modify(const Plan& p, Registers& regs, M& memory) {
    for (unsigned attempt = 0; attempt < kMaxTries; ++attempt) {
        uint64_t old = TRY(memory.read(p.linear, p.size));
        Step step = compute(p, regs, old);
        if (step.write && !TRY(memory.compare_exchange(p.linear, old, step.value, p.size)))
            continue;
        commit(p, step, regs);
        return Progress::kDone;
    }
    return Progress::kAgain;
}

template <GuestMemory M>
Result<> string_element(const Plan& p, Registers& regs, M& memory, uint64_t from, uint64_t to) {
    uint64_t value = regs.rax;
    if (p.kind == PlanKind::kMoveString) value = TRY(memory.read(from, p.size));
    return memory.write(to, value & size_mask(p.size), p.size);
}

template <GuestMemory M>
Result<Progress> string(const Instruction& i, const Plan& p, Registers& regs, M& memory) {
    bool has_source = p.kind == PlanKind::kMoveString;
    Segment from = i.segment == Segment::kDefault ? Segment::kDs : i.segment;
    uint64_t source_base = has_source ? memory.segment_base(from) : 0;
    uint64_t destination_base = memory.segment_base(Segment::kEs);
    for (unsigned n = 0; n < kMaxElements; ++n) {
        if (string_finished(i, regs)) return Progress::kDone;
        const Result<> done =
            string_element(p, regs, memory, string_address(i, regs.rsi, source_base),
                           string_address(i, regs.rdi, destination_base));
        // Those before are written: the instruction faults anew, at the element that cannot be.
        if (!done.ok()) return n ? Result<Progress>(Progress::kAgain) : done.error();
        if (string_element_done(i, has_source, regs)) return Progress::kDone;
    }
    return Progress::kAgain;
}

}  // namespace detail

/// Runs `i`, which lies at regs.rip.
template <GuestMemory M>
Result<Progress> execute(const Instruction& i, Registers& regs, M& memory) {
    Plan p = TRY(plan(i, regs, memory.segment_base(destination_segment(i))));
    Progress progress = Progress::kDone;
    switch (p.kind) {
        case PlanKind::kStore:
            TRY(memory.write(p.linear, p.source, p.size));
            break;
        case PlanKind::kStoreString:
        case PlanKind::kMoveString:
            progress = TRY(detail::string(i, p, regs, memory));
            break;
        default:
            progress = TRY(detail::modify(p, regs, memory));
            break;
    }
    if (progress == Progress::kDone) regs.rip += i.length;
    return progress;
}

}  // namespace hv::emulate
