"""Other kernels of Debian's: 13's 6.12 as Domain 0 and guest, the cloud kernel, the installer's, and each way to pack one.

What Domain 0 needs for them comes in a second archive behind its initramfs: modules, and guests' kernels in /kernels.
"""

import functools
import re
import tempfile
from pathlib import Path

import bad_input
from framework import Boots, Failed, Hypervisor, Suite, expect, more_initrd
from xenolith import apt, demo_disk, dom0_image, paths
from xenolith.cpio import Archive
from xenolith.kernel import DEBIAN, Kernel

import bzimage  # noqa: E402 (of tests/guest, where bad_input says it is)

NEXT = Kernel("linux-image-amd64", paths.CACHE / "kernel-trixie", "trixie")
CLOUD = Kernel("linux-image-cloud-amd64", paths.CACHE / "kernel-cloud")
# Modules of dom0_image's list that NEXT has no more.
NEXT_IS_WITHOUT: list[str] = []
INSTALLER = "debian-installer-12-netboot-amd64"
INSTALLER_FILES = "./usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/"
INSTALLER_SECONDS = 900  # on the way are 100 MB of packed files
# What goes wrong in a kernel that goes on all the same.
TROUBLE = r"WARNING:|BUG:|Oops|Call Trace|unhandled|W\+X mappings: FAILED"


def _prepare(folder: Path, hypervisor: Hypervisor) -> dict:
    NEXT.fetch()
    CLOUD.fetch()
    more = Archive()
    dom0_image.add_modules(more, NEXT, NEXT_IS_WITHOUT)
    for name, kernel in (("next", NEXT), ("cloud", CLOUD)):
        more.file(f"/kernels/{name}/vmlinuz", kernel.image())
        initrd = folder / f"{name}.img"
        demo_disk.guest_initrd(kernel).write(initrd)
        more.file(f"/kernels/{name}/initrd.img", initrd)
    [package] = apt.download([INSTALLER])
    apt.extract(package, folder, only=[INSTALLER_FILES + f for f in ("linux", "initrd.gz")])
    for file in ("linux", "initrd.gz"):
        more.file(f"/kernels/installer/{file}", folder / INSTALLER_FILES / file)
    return {"kernel": NEXT.image(), "initrd": more_initrd(folder, more)}


suite = Suite("kernels", prepare=_prepare, memory=3072, kernel_args="xenolith.nodemo")


@suite.check
def next_debians_kernel_is_domain_0(host):
    expect(host.run("uname -r").strip() == NEXT.version(), "another kernel runs")
    expect(host.run("nproc").strip() == str(host.session.machine.cpus), "not all vCPUs are online")
    expect("Domain-0" in host.run("xl list"), "xl list does not show Domain-0")
    host.run("ping -c 1 -W 10 10.0.2.2; dd if=$(findfs LABEL=xenolith) of=/dev/null bs=1M count=8", 60)
    _no_trouble(host.run("dmesg"))


def _no_trouble(log: str) -> None:
    lines = [line for line in log.splitlines() if re.search(TROUBLE, line)]
    expect(not lines, "the kernel complains:\n" + "\n".join(lines[:20]))


def _guest(host, name: str, kernel: Kernel) -> None:
    """A guest with disk and NIC, from its packed image, that lives, is paused, and goes without a trace."""
    host.run("sync; echo 3 > /proc/sys/vm/drop_caches")
    host.write(f"/etc/xen/{name}.cfg", f"""name = "{name}"
type = "pv"
kernel = "/kernels/{name}/vmlinuz"
ramdisk = "/kernels/{name}/initrd.img"
cmdline = "console=hvc0 root=/dev/xvda loglevel=4"
memory = 256
vcpus = 2
disk = [ "file:/guests/demo/disk.img,xvda,w" ]
vif = [ "bridge=xenbr0" ]""")
    host.start(f"/etc/xen/{name}.cfg")
    expect(host.guest(name, "uname -r").strip() == kernel.version(), "another kernel runs")
    expect(host.guest(name, "nproc").strip() == "2", "not all vCPUs are online")
    host.guest(name, "dd if=/dev/urandom of=/root/f bs=64k count=64; sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum /root/f; rm /root/f")
    host.run(f"ping -c 2 -W 10 $(xenstore-read /local/domain/$(xl domid {name})/data/ip)")
    host.run(f"xl pause {name}; sleep 1; xl unpause {name}")
    _no_trouble(host.guest(name, "dmesg"))
    host.run(f"xl shutdown -w {name}", 180)
    host.until(f"{name} is gone", lambda: host.status(f"xl domid {name}")[0] != 0)


@suite.check
def next_debians_kernel_is_a_guest(host):
    _guest(host, "next", NEXT)


@suite.check
def cloud_kernel_is_a_guest(host):
    _guest(host, "cloud", CLOUD)


@suite.check
def installer_begins_as_a_guest(host):
    """By its text frontend, up to the choice of a mirror: it has found the NIC, and DHCP has answered."""
    host.run("truncate -s 4G /tmp/empty.img")
    host.write("/etc/xen/installer.cfg", """name = "installer"
type = "pv"
kernel = "/kernels/installer/linux"
ramdisk = "/kernels/installer/initrd.gz"
cmdline = "console=hvc0 DEBIAN_FRONTEND=text language=en country=US locale=en_US.UTF-8 keymap=us hostname=new domain=local --- quiet"
memory = 1024
vcpus = 1
disk = [ "file:/tmp/empty.img,xvda,w" ]
vif = [ "bridge=xenbr0" ]""")
    host.run("xl create /etc/xen/installer.cfg", 240)
    _says(host, "installer", "mirror")
    host.run("xl destroy installer")


def _says(host, name: str, text: str) -> None:
    log = f"/var/log/xen/console/guest-{name}.log"
    try:
        host.until(f"{name} says `{text}`", lambda: text in host.status(f"cat {log}")[1], INSTALLER_SECONDS)
    except Failed as e:
        raise Failed(f"{e}; its console ended so:\n{host.status(f'tail -c 2000 {log}')[1]}") from None


def _boots(hypervisor: Hypervisor, name: str, pack) -> None:
    with tempfile.TemporaryDirectory(prefix="xenolith-test-") as folder:
        file = Path(folder) / "kernel"
        file.write_bytes(pack(DEBIAN.unpacked()))
        text = bad_input.console(hypervisor, name, bad_input.STARTED, kernel=file, kernel_args="xenolith.nodisk")
    expect(bad_input.STARTED in text, f"Domain 0 did not come up:\n{text[-1500:]}")


def _cloud_kernel(folder: Path) -> dict:
    CLOUD.fetch()
    return {"kernel": CLOUD.image()}


def _packed(hypervisor: Hypervisor) -> list:
    packers = {name: functools.partial(bzimage.make, packer=name) for name in ("gzip", "zstd", "lz4")}
    packers["nothing"] = lambda elf: elf
    checks = [(f"packed_with_{name}", functools.partial(_boots, hypervisor, f"packed_with_{name}", pack)) for name, pack in packers.items()]
    # Its notes claim that it can be (XENFEAT_dom0), so neither hypervisor refuses it; it shuts itself down without a word.
    ends = functools.partial(bad_input.refuses, hypervisor, "cloud_kernel", _cloud_kernel, r"Domain 0 has shut down")
    return [*checks, ("cloud_kernel_ends_as_domain_0", ends)]


# Debian 12's own is packed with XZ.
packed = Boots("kernels_boot", _packed)
