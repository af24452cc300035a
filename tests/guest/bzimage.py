"""A bzImage around a kernel, packed as Linux's build packs it (scripts/Makefile.lib), but without any code to unpack it."""

import struct
import subprocess

PACKERS = {
    "xz": ["xz", "--check=crc32", "--x86", "--lzma2=dict=1MiB"],
    "gzip": ["gzip", "-n", "-9"],
    "zstd": ["zstd", "-q", "-15"],
    "lz4": ["lz4", "-q", "-l", "-9"],
    "bzip2": ["bzip2", "-9"],
    "lzma": ["xz", "--format=lzma"],
}
SECTOR = 512
SETUP_SECTORS = 1  # behind the boot sector


def make(elf: bytes, packer: str) -> bytes:
    payload = subprocess.run(PACKERS[packer] + ["-c"], input=elf, stdout=subprocess.PIPE, check=True).stdout
    if packer != "gzip":  # which ends with the unpacked size by itself
        payload += struct.pack("<I", len(elf))
    # Linux's Documentation/arch/x86/boot.rst: only what says where the payload is.
    setup = bytearray((1 + SETUP_SECTORS) * SECTOR)
    setup[0x1F1] = SETUP_SECTORS
    struct.pack_into("<H", setup, 0x1FE, 0xAA55)
    struct.pack_into("<4sH", setup, 0x202, b"HdrS", 0x020F)
    struct.pack_into("<II", setup, 0x248, 0, len(payload))
    return bytes(setup) + payload
