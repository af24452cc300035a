"""A machine under QEMU, looked at from outside while it stands still: QEMU's gdb stub, and its monitor through that.

The remote protocol of GDB, as far as it is needed (GDB's manual, appendix E): breakpoints, single steps (QEMU keeps interrupts
away from them), registers, memory by virtual and by physical address.
"""

import re
import socket
import struct
import time

REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip", "eflags")
PIECE = 2000  # bytes of memory in one answer


class Stub:
    """The connection; `seconds` is how long an answer may take."""

    def __init__(self, path, seconds=60):
        end = time.monotonic() + seconds
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.socket.settimeout(seconds)
        self.pending = b""

    def close(self):
        self.socket.close()

    def ask(self, text):
        """One command, one answer."""
        self._send(text)
        return self._receive()

    def _send(self, text):
        data = text.encode()
        self.socket.sendall(b"$" + data + b"#%02x" % (sum(data) & 0xff))

    def _receive(self):
        while not (match := re.search(rb"\$([^#]*)#..", self.pending, re.S)):
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("the machine ended")
            self.pending += piece
        self.pending = self.pending[match.end():]
        self.socket.sendall(b"+")
        return match[1].decode("latin1")

    def run_to(self, address):
        """Lets the machine run until it is about to execute what lies at this virtual address."""
        if self.ask(f"Z1,{address:x},1") != "OK":
            raise ValueError("no breakpoint")
        self.ask("c")
        self.ask(f"z1,{address:x},1")

    def step(self):
        self.ask("s")

    def registers(self):
        """{name: value} of the general ones."""
        raw = bytes.fromhex(self.ask("g")[:2 * (17 * 8 + 4)])
        return dict(zip(REGISTERS, struct.unpack("<17QI", raw)))

    def monitor(self, command):
        """The text that QEMU's monitor answers."""
        self._send("qRcmd," + command.encode().hex())
        text = ""
        while (answer := self._receive()) != "OK":
            text += bytes.fromhex(answer[1:]).decode("latin1")
        return text

    def memory(self, address, length):
        """As the processor would read it now; shorter where it could not."""
        data = b""
        while len(data) < length:
            answer = self.ask(f"m{address + len(data):x},{min(PIECE, length - len(data)):x}")
            if not answer or answer.startswith("E"):
                break
            data += bytes.fromhex(answer)
        return data

    def physical(self, address, length):
        self.ask("Qqemu.PhyMemMode:1")
        data = self.memory(address, length)
        self.ask("Qqemu.PhyMemMode:0")
        return data
