"""A small VNC client (RFB 3.8, RFC 6143) for a server without a password: one picture, keys."""

import socket
import struct
import time

SECURITY_NONE, ENCODING_RAW = 1, 0
KEY_RETURN = 0xFF0D


class Client:
    """A session; `width`, `height` and `name` are the server's. Raises OSError."""

    def __init__(self, port: int, seconds: float = 30):
        self.socket = socket.create_connection(("127.0.0.1", port), seconds)
        if self._read(12)[:4] != b"RFB ":
            raise OSError("no RFB server")
        self.socket.sendall(b"RFB 003.008\n")
        kinds = self._read(self._read(1)[0])
        if SECURITY_NONE not in kinds:
            raise OSError(f"the server wants one of the securities {list(kinds)}")
        self.socket.sendall(bytes([SECURITY_NONE]))
        if struct.unpack(">I", self._read(4))[0]:
            raise OSError(self._read(struct.unpack(">I", self._read(4))[0]).decode(errors="replace"))
        self.socket.sendall(b"\1")  # others may be connected as well
        self.width, self.height, _, length = struct.unpack(">HH16sI", self._read(24))
        self.name = self._read(length).decode(errors="replace")

    def picture(self) -> bytes:
        """The whole screen, four bytes a pixel: blue, green, red, none."""
        # 32 bits a pixel, 24 deep, little-endian, true colour, 255 each, shifts of red, green, blue.
        self.socket.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.socket.sendall(struct.pack(">BxHi", 2, 1, ENCODING_RAW))
        self.socket.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
        screen = bytearray(self.width * self.height * 4)
        seen = 0
        while seen < self.width * self.height:
            seen += self._update(screen)
        return bytes(screen)

    def _update(self, screen: bytearray) -> int:
        """One message of the server's; how many pixels came."""
        kind = self._read(1)[0]
        if kind == 3:  # what was cut there is of no interest
            self._read(struct.unpack(">xxxI", self._read(7))[0])
        if kind != 0:
            return 0
        seen = 0
        for _ in range(struct.unpack(">xH", self._read(3))[0]):
            x, y, w, h, encoding = struct.unpack(">HHHHi", self._read(12))
            if encoding != ENCODING_RAW:
                raise OSError(f"encoding {encoding}, which nobody asked for")
            for line in range(y, y + h):
                at = (line * self.width + x) * 4
                screen[at : at + w * 4] = self._read(w * 4)
            seen += w * h
        return seen

    def type(self, text: str) -> None:
        """Presses and lets go of keys; a newline is Return."""
        for c in text:
            for down in (1, 0):
                self.socket.sendall(struct.pack(">BBxxI", 4, down, KEY_RETURN if c == "\n" else ord(c)))
            time.sleep(0.05)

    def close(self) -> None:
        self.socket.close()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise OSError("the server has hung up")
            data += more
        return data

