"""Domain 0's own devices: AHCI disk, e1000 NIC, reboot and power-off. No guests."""

import hashlib
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from framework import Suite, expect
from xenolith.session import Timeout


SPARE_MIB = 256


def _spare_disk(folder, _hypervisor):
    disk = folder / "spare.img"
    with open(disk, "wb") as f:
        f.truncate(SPARE_MIB << 20)
    return {"disks": [disk]}


suite = Suite("devices", kernel_args="xenolith.nodemo", reboots=True, prepare=_spare_disk)


@suite.check
def all_cpus_and_memory_are_there(host):
    machine = host.session.machine
    expect(host.run("nproc").strip() == str(machine.cpus), f"Domain 0 has not {machine.cpus} CPUs")
    dom0 = int(host.state("Domain-0")["mem"])
    expect(abs(dom0 - 1024) <= 1, f"Domain 0 has {dom0} MiB, dom0_mem= says 1024")


def spare_disk(host) -> str:
    """By its size: which of two disks is sda is a matter of chance."""
    sectors = SPARE_MIB << 11
    return host.run(f"for d in /sys/block/sd*; do [ $(cat $d/size) = {sectors} ] && echo /dev/${{d##*/}}; done; true").strip()


@suite.check
def file_system_on_ahci_survives_fsck(host):
    disk = spare_disk(host)
    host.run(f"mkfs.ext4 -q -L spare {disk} && mount {disk} /mnt")
    written = host.run("dd if=/dev/urandom of=/mnt/data bs=1M count=64 2>/dev/null && sha256sum < /mnt/data", 240)
    host.run("cp -r /usr/lib/xen-4.17 /mnt/tree && umount /mnt", 120)
    host.run(f"e2fsck -f -n {disk}", 120)
    read = host.run(f"mount -o ro {disk} /mnt && sha256sum < /mnt/data && diff -r /usr/lib/xen-4.17 /mnt/tree", 240)
    host.run("umount /mnt")
    expect(read == written, f"written {written.strip()}, read back {read.strip()}")


@suite.check
def dhcp_gives_an_address(host):
    address = host.run("ip -4 -o addr show xenbr0")
    expect("10.0.2." in address, f"no lease of QEMU's network: {address.strip()}")
    expect("default via 10.0.2.2" in host.run("ip route"), "no default route")
    host.run("ping -c 3 -W 5 10.0.2.2")


@suite.check
def four_megabytes_come_from_outside(host):
    with FileServer(4 << 20) as server:
        got = host.run(f"wget -q -O - {server.url} | sha256sum").split()[0]
        expect(got == server.sha256, f"{got} instead of {server.sha256}")


@suite.check
def interrupts_of_devices_are_counted(host):
    """AHCI by MSI and e1000 by a line of the IO-APIC reach Domain 0 as event channels."""
    table = host.run("cat /proc/interrupts")
    for device, kind in (("ahci", "xen-pirq"), ("eth0", "xen-pirq")):
        row = next((l for l in table.splitlines() if device in l), "")
        expect(kind in row, f"no {kind} for {device}: {row!r}")
        expect(sum(map(int, re.findall(r"\s(\d+)(?=\s)", row.split(kind)[0]))) > 0, f"{device} never interrupted")


@suite.check
def clock_keeps_time(host):
    """Domain 0's clock against this machine's, which QEMU's timers follow."""
    def both():
        before = time.monotonic()
        uptime = float(host.run("cat /proc/uptime").split()[0])
        return uptime, (before + time.monotonic()) / 2

    (up1, here1), _, (up2, here2) = both(), time.sleep(20), both()
    expect(abs((up2 - up1) - (here2 - here1)) < 1, f"{here2 - here1:.2f} s here were {up2 - up1:.2f} s in Domain 0")


@suite.check
def reboot_starts_the_machine_again(host):
    host.run(f"mount {spare_disk(host)} /mnt && date > /mnt/before-reboot && umount /mnt")
    try:
        host.session.run("(sleep 0.3; reboot) >/dev/null 2>&1 </dev/null &", 10)
    except Timeout:
        pass
    host.session.boot()
    disk = spare_disk(host)
    host.run(f"mount -o ro {disk} /mnt && cat /mnt/before-reboot && umount /mnt")
    host.run(f"e2fsck -f -n {disk}", 120)


@suite.check
def power_off_ends_the_machine(host):
    try:
        host.session.run("(sleep 0.3; poweroff) >/dev/null 2>&1 </dev/null &", 10)
    except Timeout:
        pass
    expect(host.session.wait_end(60), "a minute after poweroff the machine still runs")
    expect(host.session.process.returncode == 0, f"QEMU ended with {host.session.process.returncode}")


class FileServer:
    """The outside: random bytes by HTTP, as guests see it at 10.0.2.2."""

    def __init__(self, size: int):
        body = os.urandom(size)
        self.sha256 = hashlib.sha256(body).hexdigest()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(size))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://10.0.2.2:{self._server.server_port}/file"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
