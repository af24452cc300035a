"""Debian packages as files: resolved and downloaded with apt, without root and without installing.

apt runs on the sources that are configured on this machine, but with lists, cache and an empty
package status of its own under build/cache, so that the answer does not depend on what happens
to be installed here, and nothing of the system is touched.
"""

import os
import re
import subprocess
import urllib.parse
from pathlib import Path

from . import paths, ui
from .errors import Failure

_updated: set[str | None] = set()  # the releases whose lists were fetched; None: this machine's
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def _environment(release: str | None) -> dict:
    state = paths.CACHE / (f"apt-{release}" if release else "apt")
    for d in ("lists/partial", "cache/archives/partial"):
        (state / d).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    sources = ""
    if release:
        (state / "sources.list").write_text(f"deb [signed-by={_KEYS}] {_archive()} {release} main\n")
        sources = f'Dir::Etc::sourcelist "{state}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
    conf = state / "apt.conf"
    conf.write_text(
        f'{sources}Dir::State "{state}";\nDir::State::lists "{state}/lists";\n'
        f'Dir::State::status "{state}/status";\nDir::Cache "{state}/cache";\n'
        'APT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\n'
        'APT::Sandbox::User "root";\nAPT::Install-Recommends "false";\nDebug::NoLocking "true";\n'
        'Acquire::Languages "none";\nAcquire::Retries "3";\n'
    )
    return {**os.environ, "APT_CONFIG": str(conf), "LC_ALL": "C.UTF-8"}


def _run(*argv: str, cwd: Path | None = None, release: str | None = None) -> str:
    p = subprocess.run(argv, env=_environment(release), cwd=cwd, capture_output=True, text=True)
    if p.returncode:
        lines = [l for l in p.stderr.splitlines() if l.startswith("E:")] or [p.stderr.strip()]
        raise Failure(f"{argv[0]} {argv[1]} failed ({lines[0]})",
                      "check the network and the package sources in /etc/apt, then try again")
    return p.stdout


def update(release: str | None = None) -> None:
    """Fetches the package lists, once a run of the command; of another release of Debian where one is named."""
    if release not in _updated:
        ui.note(f"reading Debian's package lists ({f'{release}, ' if release else ''}into build/cache, not the system's)")
        # A third party's source that is down must not stop us: what is missing shows later.
        subprocess.run(["apt-get", "update"], env=_environment(release), capture_output=True)
        _updated.add(release)


def _archive() -> str:
    """Where this machine gets its own release of Debian from."""
    update()
    for line in _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages",
                     "Origin: Debian").splitlines():
        uri, release = line.split()
        if release == "bookworm":
            return uri
    raise Failure("Debian 12 is not among the package sources", "add it to /etc/apt/sources.list")


def closure(packages: list[str]) -> list[tuple[str, str, int]]:
    """(name, file name, bytes) of these packages and of all that they depend on."""
    update()
    out = _run("apt-get", "install", "-y", "--print-uris", *packages)
    found = re.findall(r"^'([^']+)' (\S+) (\d+)", out, re.M)
    return [(f.split("_")[0], urllib.parse.unquote(f), int(size)) for _, f, size in found]


def download(names: list[str], release: str | None = None) -> list[Path]:
    """Downloads these packages (not their dependencies) into the cache; gives the files."""
    update(release)
    paths.DEBS.mkdir(parents=True, exist_ok=True)
    files, missing = [], []
    for line in _run("apt-get", "download", "--print-uris", *names, release=release).splitlines():
        m = re.match(r"'([^']+)' (\S+) (\d+)", line)
        if not m:
            continue
        file = paths.DEBS / m[2]
        files.append(file)
        if not file.exists() or file.stat().st_size != int(m[3]):
            missing.append((m[2].split("_")[0], int(m[3])))
    if missing:
        size = sum(s for _, s in missing) / 1e6
        ui.note(f"downloading {len(missing)} Debian packages, {size:.1f} MB")
        _run("apt-get", "download", *[n for n, _ in missing], cwd=paths.DEBS, release=release)
    return files


def download_closure(packages: list[str]) -> list[Path]:
    return download([name for name, _, _ in closure(packages)])


def dependency(package: str, pattern: str, release: str | None = None) -> str:
    """The first dependency of a package whose name matches: a meta package's real one."""
    update(release)
    m = re.search(rf"Depends: ({pattern})", _run("apt-cache", "depends", package, release=release))
    if not m:
        raise Failure(f"package {package} has no dependency like {pattern}",
                      "is Debian 12 (bookworm) among the package sources?")
    return m[1]


def debian_sources() -> list[str]:
    """This machine's sources of Debian itself, without any third party's, as lines of a sources.list."""
    update()
    out = _run("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
               "Created-By: Packages", "Origin: Debian")
    return sorted(set(out.splitlines()))


def extract(deb: Path, root: Path, exclude: list[str] = (), only: list[str] = ()) -> None:
    """Unpacks a package into a tree, following the tree's own links of directories."""
    root.mkdir(parents=True, exist_ok=True)
    tar = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", "--wildcards",
           *[f"--exclude={e}" for e in exclude], *only]
    data = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    p = subprocess.run(tar, stdin=data.stdout, capture_output=True, text=True)
    data.stdout.close()
    if data.wait() or p.returncode:
        deb.unlink(missing_ok=True)
        raise Failure(f"{deb.name} could not be unpacked ({p.stderr.strip()[:200]})",
                      "it was removed from the cache; try again, and check the free space")
