"""`./xenolith build`: the hypervisor's image, and the EFI program that carries it, by CMake."""

import re
import subprocess
from pathlib import Path

from . import packages, paths, ui
from .errors import Failure
from .stamps import Stamp, digest

DESCRIPTION = "Builds the hypervisor and leaves the bootable image at build/release/xenolith, and\nbuild/release/xenolith.efi, which UEFI starts without a boot loader."
_SOURCES = [paths.ROOT / d for d in ("abi", "base", "hv", "efi", "cmake")]
_FILES = [paths.ROOT / f for f in ("CMakeLists.txt", "CMakePresets.json")]


def add_arguments(parser) -> None:
    parser.add_argument("--debug", action="store_true", help="build with checks and symbols, into build/debug")


def main(options) -> int:
    image = hypervisor(options.debug)
    ui.note(f"the image is {image.relative_to(paths.ROOT)} ({image.stat().st_size / 1024:.0f} KiB)")
    return 0


def hypervisor(debug: bool = False) -> Path:
    """Builds what is out of date and gives the image; nothing is started if no source changed."""
    packages.need(packages.BUILD)
    image, preset = paths.image(debug), "debug" if debug else "release"
    key = digest(preset, *(p for p in _SOURCES + _FILES if p.exists()))
    stamp = Stamp(f"build-{preset}", key, [image, paths.efi_program(image)])
    if not stamp.fresh():
        stamp.clear()
        cmake(preset)
        if not image.exists():
            raise Failure(f"the build left no image at {image.relative_to(paths.ROOT)}",
                          f"remove build/{preset} and build again")
        stamp.mark()
    return image


def cmake(preset: str) -> None:
    """Configures and builds one preset, with progress; the compiler's messages if it fails."""
    if not (paths.ROOT / "CMakePresets.json").exists():
        raise Failure("CMakePresets.json is missing", "is this a complete clone?")
    ui.note(f"building ({preset})")
    _run(["cmake", "--preset", preset])
    _run(["cmake", "--build", "--preset", preset])


def _run(argv: list[str]) -> None:
    p = subprocess.Popen(argv, cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    kept, tenth = [], 0
    for line in p.stdout:
        if m := re.match(r"\[(\d+)/(\d+)\]", line):
            now = int(m[1]) * 10 // int(m[2])
            if now != tenth:
                ui.note(f"compiled {m[1]} of {m[2]}")
            tenth = now
        kept.append(line.rstrip())
    if p.wait():
        # Ninja prints what failed after a line FAILED; without one, the end says it.
        first = next((i for i, l in enumerate(kept) if l.startswith("FAILED")), max(0, len(kept) - 40))
        raise Failure(f"'{' '.join(argv)}' failed:\n" + "\n".join(kept[first:][:80]))
