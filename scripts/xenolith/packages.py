"""Debian packages that must be installed on this machine, and installing those that are missing."""

import os
import shutil
import subprocess
from pathlib import Path

from . import ui
from .errors import Failure

# docs/dependencies.md says what each is for.
BUILD = "g++ cmake ninja-build libxen-dev fonts-spleen".split()
RUN = "qemu-system-x86 e2fsprogs".split()
TEST = "libgtest-dev xz-utils zstd lz4 bzip2 clang-14 clang-tidy-14 clang-format-14 ovmf".split()
BENCH = ["cloc"]  # for the row of lines only
FUZZ = "clang-14 libclang-rt-14-dev".split()  # for the search of --long only


def installed(package: str) -> bool:
    p = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True)
    return p.returncode == 0 and p.stdout == "installed"


def check_system() -> None:
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        text = ""
    if "VERSION_ID=\"12\"" not in text or "ID=debian" not in text.splitlines():
        raise Failure("this is not Debian 12 (bookworm)", "use a Debian 12 machine, container or chroot")


def need(packages: list[str]) -> None:
    """Installs those of these packages that are missing; with sudo where the user is not root."""
    check_system()
    if os.geteuid() != 0:  # files in the guest's disk shall belong to its root all the same
        packages = packages + ["fakeroot"]
    missing = [p for p in packages if not installed(p)]
    if not missing:
        return
    prefix = []
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            raise Failure(f"packages are missing: {' '.join(missing)}",
                          f"run 'apt-get install --no-install-recommends {' '.join(missing)}' as root")
        prefix = ["sudo"]
    ui.note(f"installing {len(missing)} Debian packages: {' '.join(missing)}")
    _apt(prefix, "update", "-q", must=False)  # a third party's source that is down is no matter
    _apt(prefix, "install", "-y", "-q", "--no-install-recommends", *missing)


def _apt(prefix: list[str], *arguments: str, must: bool = True) -> None:
    argv = prefix + ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", *arguments]
    # Its output would hide ours; what went wrong is said in its last lines. sudo asks on the tty.
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode and must:
        errors = [l for l in p.stdout.splitlines() if l.startswith("E:")] or p.stdout.splitlines()[-1:]
        raise Failure(f"apt-get {arguments[0]} failed ({' '.join(errors)})",
                      "check the network, the package sources in /etc/apt and that no other apt runs")
