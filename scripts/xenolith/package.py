"""`./xenolith package`: a Debian package that puts the hypervisor beside an installed Debian's kernel."""

import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from . import build, paths, ui
from .errors import Failure, usage

DESCRIPTION = """Builds xenolith-hypervisor_VERSION_amd64.deb for Debian 12. Installed, it adds Xenolith to GRUB's menu; what boots by
default stays as it is. `xenolith-check` in it looks at the machine, `xenolith-try` boots Xenolith once."""
EPILOG = """Install it with 'apt install ./build/xenolith-hypervisor_*.deb', which brings Xen's tools along. It has been tried in emulators
only. Secure Boot has to be off: the hypervisor is not signed."""
NAME = "xenolith-hypervisor"
# GRUB's 20_linux_xen sorts hypervisors by the version in the file's name and puts the highest on the menu's first page:
# while this one is below Xen's, an installed Xen keeps its place there.
UPSTREAM = "0.1"
FILES = paths.SCRIPTS / "package"


def add_arguments(p) -> None:
    p.add_argument("--output", metavar="DIR", default=str(paths.BUILD), help="where to (default: build)")


def main(options) -> int:
    if not Path(options.output).is_dir():
        raise usage(f"--output {options.output}: there is no such folder")
    deb = make(build.hypervisor(), Path(options.output))
    ui.note(f"{deb} ({deb.stat().st_size / 1024:.0f} KiB): install it with 'apt install {deb}'")
    return 0


def make(hypervisor: Path, folder: Path, efi: Path | None = None) -> Path:
    """Packs an image, and the EFI program (that beside it) which carries it; gives the package's file. The same sources
    give the same bytes."""
    ui.note("packing")
    seconds, version = _version()
    out = folder / f"{NAME}_{version}_amd64.deb"
    with tempfile.TemporaryDirectory(prefix="xenolith-deb-", dir=folder) as work:
        tree = Path(work)
        tree.chmod(0o755)
        _image(hypervisor, tree)
        _efi(efi or paths.efi_program(hypervisor), tree)
        _programs(tree)
        _documents(tree, version, seconds)
        _control(tree, version)
        _run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(out)], seconds)
    return out


def _version() -> tuple[int, str]:
    """Seconds and version of the commit: a later one is a higher version."""
    p = subprocess.run(["git", "log", "-1", "--format=%ct %h"], cwd=paths.ROOT, capture_output=True, text=True)
    if p.returncode:
        raise Failure("the commit cannot be told, and so no version", "build the package from a git clone")
    seconds, commit = p.stdout.split()
    return int(seconds), f"{UPSTREAM}+{time.strftime('%Y%m%d%H%M%S', time.gmtime(int(seconds)))}.{commit}"


def _image(hypervisor: Path, tree: Path) -> None:
    """Without its debugging symbols, packed: GRUB unpacks it as it reads it."""
    plain, packed = tree / "image", tree / f"boot/xenolith-{UPSTREAM}.gz"
    _run(["strip", "-o", str(plain), str(hypervisor)])
    packed.parent.mkdir()
    _pack(packed, plain.read_bytes())
    plain.unlink()


def _efi(program: Path, tree: Path) -> None:
    """Not in /boot, where it would only take room: it is used from the EFI system partition."""
    where = tree / "usr/lib/xenolith"
    where.mkdir(parents=True)
    shutil.copyfile(program, where / "xenolith.efi")


def _programs(tree: Path) -> None:
    shutil.copytree(FILES / "root", tree, dirs_exist_ok=True)
    shutil.copytree(paths.SCRIPTS / "xenolith_host", tree / "usr/share/xenolith/xenolith_host",
                    ignore=shutil.ignore_patterns("__pycache__"))


def _documents(tree: Path, version: str, seconds: int) -> None:
    doc, man = tree / f"usr/share/doc/{NAME}", tree / "usr/share/man/man8"
    doc.mkdir(parents=True, exist_ok=True)  # there are examples
    man.mkdir(parents=True)
    (doc / "copyright").write_text(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: Xenolith\n\nFiles: *\n"
        "Copyright: 2026 The Xenolith authors\nLicense: Expat\n" + _licence() + "\n" + _font_licence())
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(seconds))
    _pack(doc / "changelog.gz", f"{NAME} ({version}) bookworm; urgency=medium\n\n  * Built from the repository's commit "
          f"{version.rpartition('.')[2]}.\n\n -- Xenolith <xenolith@localhost>  {date}\n".encode())
    for page in sorted((FILES / "man").iterdir()):
        _pack(man / f"{page.name}.gz", page.read_bytes())


def _licence() -> str:
    """The LICENSE's text behind its heading and the copyright, as a field's continuation lines."""
    text = (paths.ROOT / "LICENSE").read_text().partition("authors\n\n")[2]
    return "".join(f" {line or '.'}\n" for line in text.strip().splitlines())


def _font_licence() -> str:
    """What the letters on the screen come with (cmake/font.py); its own package says it in the same form."""
    file = Path("/usr/share/doc/fonts-spleen/copyright")
    if not file.exists():
        raise Failure(f"{file} is missing, whose terms belong into the package", "let dpkg keep /usr/share/doc, and reinstall fonts-spleen")
    paragraphs = file.read_text().split("\n\n")
    terms = next(p for p in paragraphs if p.startswith("Files: *\n"))
    return terms.replace("Files: *", "Files: font.cpp", 1).strip() + "\n"


def _control(tree: Path, version: str) -> None:
    files = sorted(p for p in tree.rglob("*") if p.is_file())
    for p in tree.rglob("*"):
        p.chmod(0o755 if p.is_dir() or p.parent.name == "sbin" else 0o644)
    image_kib = (tree / f"boot/xenolith-{UPSTREAM}.gz").stat().st_size // 1024 + 1
    fields = {"VERSION": version, "UPSTREAM": UPSTREAM, "IMAGE_KIB": str(image_kib),
              "SIZE": str(sum(p.stat().st_size // 1024 + 1 for p in files))}
    sums = "".join(f"{hashlib.md5(p.read_bytes()).hexdigest()}  {p.relative_to(tree)}\n" for p in files
                   if "etc" not in p.relative_to(tree).parts)
    where = tree / "DEBIAN"
    where.mkdir(mode=0o755)
    for name, text in control_files(fields).items():
        (where / name).write_text(text)
        (where / name).chmod(0o644 if name in ("control", "conffiles") else 0o755)
    (where / "md5sums").write_text(sums)
    (where / "md5sums").chmod(0o644)


def control_files(fields: dict[str, str]) -> dict[str, str]:
    """dpkg's control files by name; @FIELD@ in them stands for what the package's maker knows."""
    out = {}
    for source in sorted((FILES / "control").iterdir()):
        text = source.read_text()
        for name, value in fields.items():
            text = text.replace(f"@{name}@", value)
        out[source.name] = text
    return out


def _pack(file: Path, data: bytes) -> None:
    file.write_bytes(gzip.compress(data, 9, mtime=0))


def _run(argv: list[str], seconds: int | None = None) -> None:
    env = {**os.environ, **({"SOURCE_DATE_EPOCH": str(seconds)} if seconds else {})}
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    if p.returncode:
        raise Failure(f"{argv[0]} failed ({p.stdout.strip()[-300:]})", "is there enough free space in build/?")
