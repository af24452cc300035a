"""A larger machine with other devices: 8 CPUs and 16 GiB in two NUMA nodes, NVMe and virtio beside AHCI and
e1000, keyboard, clock and power button."""

import re
import struct
import time

import lifecycle
from devices import FileServer
from framework import Suite, expect
from monitor import tell

CPUS, DOM0_CPUS, MEMORY = 8, 4, 16384
SPARE_MIB = 128
VIRTIO = "iommu_platform=on,disable-legacy=on"  # Domain 0's addresses are not the machine's
KEY_A, KEY_POWER = 30, 116


def _machine(folder, _hypervisor):
    """The memory is only promised to QEMU, so the host need not have it; what boots touches little."""
    half = f"{MEMORY // 2}M"
    extra = []
    for node, cpus in ((0, f"0-{CPUS // 2 - 1}"), (1, f"{CPUS // 2}-{CPUS - 1}")):
        extra += ["-object", f"memory-backend-ram,id=m{node},size={half},reserve=off",
                  "-numa", f"node,nodeid={node},cpus={cpus},memdev=m{node}"]
    extra += ["-numa", "dist,src=0,dst=1,val=21"]
    for name, device in (("nvme", "nvme,serial=spare"), ("virtio", f"virtio-blk-pci,{VIRTIO}")):
        disk = folder / f"{name}.img"
        with open(disk, "wb") as f:
            f.truncate(SPARE_MIB << 20)
        extra += ["-drive", f"id={name},file={disk},format=raw,if=none", "-device", f"{device},drive={name}"]
    extra += ["-netdev", "user,id=second,net=10.0.3.0/24", "-device", f"virtio-net-pci,netdev=second,{VIRTIO}"]
    return {"extra": extra, "monitor": folder / "monitor"}


# Stock would write all memory once while it idles, on the host too.
suite = Suite("hardware", cpus=CPUS, memory=MEMORY, cmdline=f"bootscrub=off dom0_max_vcpus={DOM0_CPUS}", kernel_args="xenolith.nodemo", prepare=_machine)


def _interrupts(host, what: str, kind: str) -> int:
    """How often devices whose row in /proc/interrupts holds `what` have interrupted, by that kind of event."""
    rows = [l for l in host.run("cat /proc/interrupts").splitlines() if re.search(what, l)]
    expect(rows and all(kind in r for r in rows), f"no {kind} for {what}: {rows}")
    return sum(int(n) for r in rows for n in r.split(kind)[0].split(":")[1].split())


@suite.check
def cpus_memory_and_nodes_are_shown(host):
    info = lifecycle.fields(host.run("xl info"))
    expect(info["nr_cpus"] == str(CPUS) and info["nr_nodes"] == "2", f"xl info: {info['nr_cpus']} CPUs, {info['nr_nodes']} nodes")
    expect(0.98 * MEMORY < int(info["total_memory"]) <= MEMORY, f"total_memory {info['total_memory']}")
    expect(host.run("nproc").strip() == str(DOM0_CPUS), "Domain 0 has not as many CPUs as it was given")
    text = host.run("xl info -n")
    nodes = dict(re.findall(r"^cpu\s*$|^\s*(\d+):\s+\d+\s+\d+\s+(\d+)\s*$", text, re.M))
    expect([nodes.get(str(c)) for c in range(CPUS)] == ["0"] * 4 + ["1"] * 4, f"CPUs and nodes: {nodes}")
    rows = re.findall(r"^\s*(\d):\s+(\d+)\s+(\d+)\s+(\d+),(\d+)\s*$", text, re.M)
    expect([r[0] for r in rows] == ["0", "1"], f"no table of two nodes: {text}")
    expect([r[3:] for r in rows] == [("10", "21"), ("21", "10")], f"distances: {rows}")
    sizes = [int(r[1]) for r in rows]  # the hole below 4 GiB counts as the first node's
    expect(MEMORY / 2 <= sizes[0] <= MEMORY / 2 + 4096 and sizes[1] == MEMORY / 2, f"sizes: {sizes}")
    free = sum(int(r[2]) for r in rows)
    expect(abs(free - int(info["free_memory"])) < 8, f"{free} MiB free by node, {info['free_memory']} in all")


def _free_by_node(host) -> list[int]:
    """MiB."""
    return [int(m) for m in re.findall(r"^\s*\d:\s+\d+\s+(\d+)\s+\d+,\d+\s*$", host.run("xl info -n"), re.M)]


@suite.check
def guest_lives_at_the_node_of_its_cpus(host):
    """`xl` would place it at the emptiest node but for cpus_soft=, which leaves the choice to the hypervisor."""
    lifecycle.write_plain(host)
    size = int(re.search(r"memory\s*=\s*(\d+)", host.run("cat /etc/xen/plain.cfg"))[1])
    for cpus, node in (("4-7", 1), ("0-3", 0)):
        host.run(f"sed -i '/^cpus/d' /etc/xen/plain.cfg && echo 'cpus_soft = \"{cpus}\"' >> /etc/xen/plain.cfg")
        before = _free_by_node(host)
        host.run("xl create -q -p /etc/xen/plain.cfg", 120)
        used = [b - a for b, a in zip(before, _free_by_node(host))]
        told = host.run("xl list -n plain").splitlines()[-1].split()[-1]
        host.run("xl destroy plain")
        expect(told == str(node), f"cpus_soft={cpus}: xl list -n says node {told}")
        expect(used[node] >= size - 2 and used[1 - node] <= 8, f"cpus_soft={cpus}: MiB taken by node {used}")
        host.until("its memory is free again", lambda: _free_by_node(host)[node] >= before[node] - 2)


@suite.check
def file_systems_on_nvme_and_virtio(host):
    host.run("modprobe nvme && modprobe virtio_pci && modprobe virtio_blk")
    for disk in ("/dev/nvme0n1", "/dev/vda"):
        host.until(f"{disk} is there", lambda: host.status(f"test -b {disk}")[0] == 0)
        host.run(f"mkfs.ext4 -q {disk} && mount {disk} /mnt")
        written = host.run("dd if=/dev/urandom of=/mnt/data bs=1M count=24 2>/dev/null && sha256sum < /mnt/data", 240)
        host.run(f"umount /mnt && e2fsck -f -n {disk} && echo 3 > /proc/sys/vm/drop_caches", 120)
        read = host.run(f"mount -o ro {disk} /mnt && sha256sum < /mnt/data", 240)
        host.run("umount /mnt")
        expect(read == written, f"{disk}: written {written.strip()}, read back {read.strip()}")


@suite.check
def virtio_net_reaches_outside(host):
    host.run("modprobe virtio_pci && modprobe virtio_net && ip addr add 10.0.3.15/24 dev eth1 && ip link set eth1 up")
    host.run("ping -c 2 -W 5 10.0.3.2")
    with FileServer(1 << 20) as server:
        url = server.url.replace("10.0.2.2", "10.0.3.2")
        got = host.run(f"wget -q -O - {url} | sha256sum").split()[0]
    expect(got == server.sha256, f"{got} instead of {server.sha256}")


@suite.check
def messages_and_lines_interrupt(host):
    """MSI-X of NVMe and virtio, MSI of AHCI, a line of the I/O APIC for e1000."""
    for what, kind in ((r"nvme0q\d", "xen-pirq"), (r"virtio\d", "xen-pirq"), ("ahci", "xen-pirq"), ("eth0", "xen-pirq")):
        expect(_interrupts(host, what, kind) > 0, f"{what} never interrupted")
    for driver, wanted in (("nvme", "msix"), ("ahci", "msi"), ("virtio-pci", "msix")):
        kinds = set(host.run(f"cat /sys/bus/pci/drivers/{driver}/*/msi_irqs/*").split())
        expect(kinds == {wanted}, f"{driver} has interrupts of kind {kinds}")


@suite.check
def configuration_space_is_memory_mapped(host):
    expect(re.search(r"MMCONFIG for .*bus 00-ff", host.run("dmesg")), "Linux does not say that it uses MMCONFIG")
    device = host.run("readlink -f /sys/bus/pci/drivers/nvme/0000*").strip()
    expect(host.run(f"stat -c %s {device}/config").strip() == "4096", "only 256 bytes of configuration space")
    host.run(f"dd if={device}/config of=/dev/null bs=4096 count=1 2>/dev/null")


def _events_of(host, name: str, action) -> list[tuple[int, int]]:
    """(code, value) of the key events that the input device of that name gives while `action` runs."""
    host.run("modprobe evdev; modprobe button; true")
    event = host.run(f"cd /sys/class/input; for e in event*; do grep -q '{name}' $e/device/name && echo $e && break; done").strip()
    expect(event, f"no input device {name}: " + host.run("cat /sys/class/input/event*/device/name"))
    host.run(f"(timeout 60 cat /dev/input/{event} > /run/events & echo $! > /run/events.pid); sleep 1")
    action()
    try:
        host.until(f"an event of {name}", lambda: int(host.run("stat -c %s /run/events")) >= 24, 30)
        time.sleep(1)
    finally:
        host.run("kill $(cat /run/events.pid); true")
    data = bytes.fromhex(host.run("od -An -v -tx1 /run/events | tr -d ' \\n'").strip())
    found = (struct.unpack_from("<qqHHi", data, at) for at in range(0, len(data) - 23, 24))
    return [(code, value) for _, _, kind, code, value in found if kind == 1]


@suite.check
def keys_are_heard(host):
    events = _events_of(host, "AT Translated Set 2 keyboard", lambda: tell(host.session.machine, "sendkey a"))
    expect(events[:2] == [(KEY_A, 1), (KEY_A, 0)], f"sendkey a gave {events}")


@suite.check
def power_button_is_heard(host):
    events = _events_of(host, "Power Button", lambda: tell(host.session.machine, "system_powerdown"))
    expect((KEY_POWER, 1) in events, f"the power button gave {events}")


@suite.check
def clock_chip_tells_the_time(host):
    chip = int(host.run("cat /sys/class/rtc/rtc0/since_epoch"))
    expect(abs(chip - time.time()) < 30, f"the RTC is {chip - time.time():.0f} s off")
    before = int(host.run("cat /sys/class/rtc/rtc0/since_epoch"))
    time.sleep(3)
    passed = int(host.run("cat /sys/class/rtc/rtc0/since_epoch")) - before
    expect(2 <= passed <= 10, f"3 s were {passed} s by the RTC")


@suite.check
def trace_is_recorded_and_read(host):
    """xentrace writes what the hypervisor records, xenalyze understands it."""
    host.run("xentrace -D -T 2 /run/trace >/run/xentrace.log 2>&1 || { cat /run/xentrace.log; false; }", 60)
    text = host.run("xenalyze --dump-all /run/trace 2>/run/xenalyze.err; true", 240)
    for what in ("runstate_change d0v", "hypercall", "page_fault"):
        expect(what in text, f"no {what!r} among {len(text.splitlines())} lines: {text[:1500]}")
