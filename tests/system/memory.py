"""Memory: what a guest had is free again after it, to the page, whatever it was doing."""

import subprocess
import threading

from framework import ROOT, Failed, Suite, expect, more_initrd

PROGRAM = ROOT / "build/tests/free-pages"
_building = threading.Lock()  # both hypervisors' suites may begin at the same time


def _with_counter(folder, _hypervisor):
    """Puts the page counter into Domain 0 by way of a second archive behind the initramfs."""
    from xenolith.cpio import Archive

    source = ROOT / "tests/system/free_pages.cpp"
    with _building:
        if not PROGRAM.exists() or PROGRAM.stat().st_mtime < source.stat().st_mtime:
            PROGRAM.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["g++", "-std=gnu++20", "-O1", "-Wall", str(source), "-lxenctrl", "-o", str(PROGRAM)], check=True)
    extra = Archive()
    extra.file("/usr/bin/free-pages", PROGRAM)
    return {"initrd": more_initrd(folder, extra)}


suite = Suite("memory", kernel_args="xenolith.nodemo", prepare=_with_counter)


def free_pages(host) -> int:
    return int(host.run("free-pages"))


def comes_back_to(host, before: int, grown: int = 0) -> None:
    """Freed pages are scrubbed and given back in the background: some time is allowed. `grown` is
    how many pages the hypervisor may keep for itself."""
    try:
        host.until("memory is back", lambda: before - grown <= free_pages(host) <= before, 30)
    except Failed:
        now = free_pages(host)
        raise Failed(f"{before} pages were free before, {now} are now: {before - now} missing") from None


@suite.check
def destroy_gives_every_page_back(host):
    host.start("/etc/xen/demo2.cfg")  # once for what the first guest leaves for the next, in Domain 0
    host.run("xl destroy demo2; sleep 2")
    before = free_pages(host)
    host.start("/etc/xen/demo2.cfg")
    during = free_pages(host)
    expect(before - during >= 128 * 256, f"a guest of 128 MiB took only {before - during} pages")
    host.run("xl destroy demo2")
    comes_back_to(host, before)


def shut_down(host, name: str) -> None:
    """`xl shutdown -w` ends with the guest's last word; what takes it away is the xl that created it."""
    host.run(f"xl shutdown -w {name}", 180)
    host.until(f"{name} is taken away", lambda: host.status(f"xl domid {name}")[0] != 0, 60)


@suite.check
def shutdown_of_demo_gives_every_page_back(host):
    host.start("/etc/xen/demo.cfg")
    shut_down(host, "demo")
    host.run("sleep 2")
    before = free_pages(host)
    host.start("/etc/xen/demo.cfg")
    shut_down(host, "demo")
    comes_back_to(host, before)


@suite.check
def destroy_during_disk_and_network_load_gives_every_page_back(host):
    before = free_pages(host)
    host.start("/etc/xen/demo.cfg")
    host.guest("demo", "(while :; do dd if=/dev/zero of=/root/busy bs=64k count=400 conv=fsync; done) >/dev/null 2>&1 & "
               "ping -q -f -w 100 10.0.2.2 >/dev/null 2>&1 & sleep 1; echo started")
    host.run("sleep 2; xl destroy demo")
    # What Domain 0 maps at a time is most under load. Xen's table of that grows and stays so;
    # Xenolith has made Domain 0's at boot, and gives every page back.
    comes_back_to(host, before, 0 if host.hypervisor.is_xenolith else 16)


@suite.check
def refused_creation_gives_every_page_back(host):
    """More memory than there is, and a broken kernel: nothing may be left of either."""
    before = free_pages(host)
    host.run("sed 's/^memory.*/memory = 65536/' /etc/xen/demo2.cfg > /run/large.cfg; "
             "head -c 3000000 /guests/demo/vmlinuz > /run/broken; "
             "sed 's#^kernel.*#kernel = \"/run/broken\"#' /etc/xen/demo2.cfg > /run/broken.cfg")
    for config in ("/run/large.cfg", "/run/broken.cfg"):
        status, _ = host.status(f"xl create {config}")
        expect(status != 0, f"xl create {config} succeeded")
    expect("demo2" not in host.run("xl list"), "half a guest is left")
    comes_back_to(host, before)


@suite.check
def xl_info_agrees(host):
    text = host.run("xl info | awk '/^free_memory/ { print $3 }'")
    expect(abs(int(text) - free_pages(host) // 256) <= 1, f"xl info says {text.strip()} MiB are free")
