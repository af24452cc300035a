"""A way through the hypervisor, instruction by instruction, as the bench's guest takes it (probe_paths in paths.S)."""

from dataclasses import dataclass

MARK = 0x5ec4e7  # the upper bits of every register that the guest could fill
GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", *(f"r{n}" for n in range(8, 16)))
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")  # of a hypercall: they are for the handler
FOURTH_IN_C = "rcx"  # where a handler in C expects the fourth of them
LONGEST = 5000  # instructions
_PREFIXES = bytes((0x66, 0xf2, 0xf3, 0x2e, 0x3e, 0x26, 0x36, 0x64, 0x65, *range(0x40, 0x50)))
SPEC_CTRL, PRED_CMD = 0x48, 0x49  # MSRs


@dataclass
class Step:
    """What is about to be executed, and the registers then."""

    registers: dict[str, int]
    code: bytes  # from the opcode on, without prefixes

    def reg(self):
        """The field of ModRM that is part of the opcode."""
        return self.code[1] >> 3 & 7

    def is_indirect(self):
        return self.code[0] == 0xff and self.reg() in (2, 3, 4, 5)

    def is_call(self):
        return self.code[0] == 0xe8 or self.code[0] == 0xff and self.reg() in (2, 3)

    def is_return(self):
        return self.code[0] in (0xc2, 0xc3)

    def is_verw(self):
        return self.code[:2] == b"\x0f\x00" and self.code[2] >> 3 & 7 == 5

    def writes_msr(self, number):
        return self.code[:2] == b"\x0f\x30" and self.registers["rcx"] & 0xffffffff == number

    def marked(self):
        return [r for r in GENERAL if self.registers[r] >> 40 == MARK]


class Path:
    """All of it, up to the instruction at `end`; `inside` is called at the first call, return or indirect branch."""

    def __init__(self, stub, end, inside):
        stub.step()
        self.steps, self.turn = [], None
        known = {}
        while (registers := stub.registers())["rip"] != end:
            if len(self.steps) > LONGEST:
                raise ValueError("the guest does not come back")
            at = registers["rip"]
            if at not in known:
                known[at] = stub.memory(at, 16).lstrip(_PREFIXES)
            self.steps.append(Step(registers, known[at]))
            if self.turn is None and self._turns(self.steps[-1]):
                self.turn = self.steps[-1]
                inside()
            stub.step()

    @staticmethod
    def _turns(step):
        return step.is_call() or step.is_return() or step.is_indirect()

    def count(self, what):
        return sum(what(step) for step in self.steps)

    def entry_flags(self):
        return self.steps[0].registers["eflags"]

    def left_at_turn(self, allowed=()):
        """Registers that still hold a value of the guest's where the first prediction by target is made."""
        return [r for r in self.turn.marked() if r not in allowed]
