"""QEMU's monitor: what a person does to the machine from outside."""

import socket

from framework import expect


def tell(machine, command: str) -> str:
    """A command for QEMU itself (Machine.monitor is where it listens); gives what it answers."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(str(machine.monitor))
        _until_prompt(s)
        s.sendall(command.encode() + b"\n")
        return _until_prompt(s).decode(errors="replace")


def _until_prompt(s) -> bytes:
    text = b""
    while not text.endswith(b"(qemu) "):
        data = s.recv(4096)
        expect(data, "QEMU's monitor hung up")
        text += data
    return text
