"""QEMU's devices for PV guests (qcow2 disk, frame buffer, keyboard), and guests that bring their own kernel."""

import hashlib
import re
import shutil
import socket
import struct

import vnc
from framework import Suite, expect

SPARE_MIB = 96
CLUSTER = 65536
SCREEN = "vnc=1,vnclisten=0.0.0.0,vncdisplay=1"


def _empty_qcow2(file, mib: int) -> None:
    """Header, table and block of reference counts, first table of clusters (all absent), a cluster each."""
    entries = -(-mib * 1024 * 1024 // (CLUSTER * CLUSTER // 8))
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, CLUSTER.bit_length() - 1, mib << 20, 0, entries,
                         3 * CLUSTER, CLUSTER, 1, 0, 0)
    clusters = [header, struct.pack(">Q", 2 * CLUSTER), struct.pack(">4H", 1, 1, 1, 1), b""]
    with open(file, "wb") as f:
        f.write(b"".join(c.ljust(CLUSTER, b"\0") for c in clusters))
        f.truncate((mib + 16) << 20)  # it is a disk of Domain 0: QEMU cannot make it longer


def qcow2_content(file) -> bytes:
    """What a qcow2 image holds, read by the format's own rules; absent clusters are zeros."""
    with open(file, "rb") as f:
        data = f.read()
    size, _, entries, table = struct.unpack_from(">QIIQ", data, 24)
    out, mask = bytearray(size), 0x00FFFFFFFFFFFE00
    for n, (level2,) in enumerate(struct.iter_unpack(">Q", data[table : table + 8 * entries])):
        if not level2 & mask:
            continue
        for m, (cluster,) in enumerate(struct.iter_unpack(">Q", data[level2 & mask : (level2 & mask) + CLUSTER])):
            at = (n * CLUSTER // 8 + m) * CLUSTER
            if cluster & mask and at < size:
                out[at : at + CLUSTER] = data[cluster & mask : (cluster & mask) + CLUSTER]
    return bytes(out)


GRUB = """set default="1"
set timeout=1
menuentry "Not this one" {
    linux /boot/none root=/dev/none
}
menuentry "The guest's own" {
    linux /boot/vmlinux console=hvc0 loglevel=4 chosen=own
    initrd /boot/initrd.img
}
"""


def _boot_disk(folder):
    """A file system with a kernel in it and what GRUB is told of it."""
    from xenolith import demo_disk
    from xenolith.kernel import DEBIAN

    boot = folder / "tree/boot"
    (boot / "grub").mkdir(parents=True)
    (boot / "vmlinux").write_bytes(DEBIAN.unpacked())
    demo_disk.guest_initrd(DEBIAN).write(boot / "initrd.img")
    (boot / "grub/grub.cfg").write_text(GRUB)
    demo_disk.make_file_system(folder / "boot.img", folder / "tree", "128M", "boot")
    shutil.rmtree(folder / "tree")
    return folder / "boot.img"


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _prepare(folder, _hypervisor):
    from xenolith import device_model

    _empty_qcow2(folder / "spare.qcow2", SPARE_MIB)
    port = _free_port()
    network = ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:5901", "-device", "e1000,netdev=net"]
    shutil.copyfile(device_model.build(), folder / "device-model.img")  # both hypervisors have it attached
    disks = [folder / "device-model.img", folder / "spare.qcow2", _boot_disk(folder)]
    return {"disks": disks, "network": False, "extra": network}


suite = Suite("models", kernel_args="xenolith.nodemo", prepare=_prepare)


def need_tools(host) -> None:
    """The disk with QEMU and Python; which of the disks it is, its label says."""
    host.run("[ -e /usr/bin/python3 ] || { mkdir -p /run/device-model /var/lib/xen /var/log/xen; "
             "mount -o ro $(findfs LABEL=device-model) /run/device-model && /run/device-model/enter; }")


def disk_of(host, sectors: int) -> str:
    return host.run(f"for d in /sys/block/sd*; do [ $(cat $d/size) = {sectors} ] && echo /dev/${{d##*/}}; done; true").strip()


def need_guest(host) -> None:
    need_tools(host)
    if not host.status("xl domid model")[0]:
        return
    qcow2 = disk_of(host, (SPARE_MIB + 16) << 11)
    host.write("/run/model.cfg", f"""name = "model"
type = "pv"
kernel = "/guests/demo/vmlinux"
ramdisk = "/guests/demo/initrd.img"
cmdline = "console=tty0 console=hvc0 root=/dev/xvda loglevel=4"
memory = 192
disk = [ "file:/guests/demo/disk.img,xvda,w", "format=qcow2,vdev=xvdb,access=rw,target={qcow2}" ]
vfb = [ "{SCREEN}" ]
""")
    host.start("/run/model.cfg", 300)


@suite.check
def qcow2_disk_keeps_what_is_written(host):
    """By the back-end in QEMU; afterwards the image, read here by the format's rules, holds the same."""
    need_guest(host)
    domid = host.run("xl domid model").strip()
    expect("qdisk" in host.run(f"xenstore-ls -f /local/domain/0/backend | grep 'backend/qdisk/{domid}/51728/'"), "no qdisk")
    written = host.guest("model", "dd if=/dev/urandom of=/run/data bs=1M count=16 2>/dev/null; sha256sum < /run/data; "
                         "dd if=/run/data of=/dev/xvdb bs=1M seek=40 conv=fsync 2>/dev/null; "
                         "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/xvdb bs=1M skip=40 count=16 2>/dev/null | sha256sum", 240)
    there, back = (l.split()[0] for l in written.splitlines())
    expect(there == back, f"the guest wrote {there} and reads {back}")
    host.run("xl block-detach model xvdb; sync", 60)
    image = next(d for d in host.session.machine.disks if d.name == "spare.qcow2")
    here = hashlib.sha256(qcow2_content(image)[40 << 20 : 56 << 20]).hexdigest()
    expect(here == there, f"the guest wrote {there}, the image holds {here}")


def vnc_port(host) -> int:
    return int(re.search(r"hostfwd=tcp:127.0.0.1:(\d+)", " ".join(host.session.machine.extra))[1])


def connect(host) -> vnc.Client:
    need_guest(host)
    return vnc.Client(vnc_port(host))


@suite.check
def vnc_password_needs_another_qemu(host):
    """Debian builds QEMU for Xen without a library for ciphers, so it refuses to start with a password,
    and xl to create the guest: never a screen that is open to everybody instead."""
    need_guest(host)
    log = "/var/log/xen/qemu-dm-secret.log"
    host.run("sed 's/^name.*/name = \"secret\"/; s/^disk.*//; "
             f"s/{SCREEN}/vnc=1,vncdisplay=2,vncpasswd=pass1234/' /run/model.cfg > /run/secret.cfg")
    expect(host.status("xl create /run/secret.cfg", 120)[0] != 0, "it is created")
    expect("Cipher backend does not support DES" in host.run(f"cat {log}"), f"QEMU said {host.run(f'cat {log}')!r}")
    expect(host.status("xl domid secret")[0] != 0, "something of the guest is left")


@suite.check
def vnc_shows_the_guests_screen(host):
    """What the guest prints on its screen changes the picture."""
    client = connect(host)
    try:
        expect((client.width, client.height) == (800, 600), f"the screen has {client.width} x {client.height}")
        host.guest("model", "printf '\\033[2J\\033[H\\033[?25l' > /dev/tty1; sleep 1")
        empty = lit(client.picture())
        host.guest("model", "printf '\\033[47m\\033[2J' > /dev/tty1; sleep 1")
        full = lit(client.picture())
    finally:
        client.close()
    expect(empty < 0.02 and full > 0.9, f"lit pixels of an empty screen: {empty:.1%}, of a white one: {full:.1%}")


def lit(picture: bytes) -> float:
    """The share of pixels that are not black."""
    return sum(picture[n] > 64 for n in range(0, len(picture), 4)) / (len(picture) // 4)


@suite.check
def keys_reach_the_guest(host):
    client = connect(host)
    try:
        host.guest("model", "rm -f /run/typed; (head -n 1 < /dev/tty1 > /run/line; mv /run/line /run/typed) >/dev/null 2>&1 &\n sleep 1")
        client.type("xenolith 42\n")
        typed = host.guest("model", "for i in $(seq 50); do [ -e /run/typed ] && break; sleep 0.2; done; cat /run/typed")
    finally:
        client.close()
    expect(typed.strip() == "xenolith 42", f"the guest's terminal read {typed!r}")


@suite.check
def guest_with_qemu_leaves_nothing(host):
    need_guest(host)
    expect("xen-qemu-system" in host.run("ps"), "its QEMU does not run")
    host.run("xl destroy model")
    host.until("its QEMU has ended", lambda: "xen-qemu-system" not in host.run("ps"), 20)
    expect(host.status("xl domid model")[0] != 0, "the guest is still there")


@suite.check
def pygrub_boots_the_guests_own_kernel(host):
    """From the entry that grub.cfg makes the default, of a disk that is Domain 0's own (phy:)."""
    need_tools(host)
    host.write("/run/own.cfg", f"""name = "own"
type = "pv"
bootloader = "pygrub"
memory = 160
disk = [ "phy:{disk_of(host, 128 << 11)},xvda,w" ]
""")
    host.start("/run/own.cfg", 300)
    line = host.guest("own", "cat /proc/cmdline")
    expect("chosen=own" in line and "console=hvc0" in line, f"the kernel was started with {line!r}")
    kernel = host.guest("own", "mount -o ro -t ext4 /dev/xvda /mnt && ls /mnt/boot; umount /mnt")
    expect({"vmlinux", "initrd.img", "grub"} <= set(kernel.split()), f"its disk holds {kernel!r}")
    host.run("xl destroy own")
    expect(not host.run("ls /run/xen | grep bootloader; true").strip(), "pygrub has left files")
