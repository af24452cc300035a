"""Split block devices: a raw file in Domain 0 is a disk in the guest, and nothing is lost."""

import re

from framework import Suite, expect

suite = Suite("disks", kernel_args="xenolith.nodemo")

CONFIG = """name = "writer"
type = "pv"
kernel = "/guests/demo/vmlinuz"
ramdisk = "/guests/demo/initrd.img"
cmdline = "console=hvc0 root=/dev/xvda loglevel=4"
memory = 192
vcpus = 2
disk = [ "file:/guests/demo/disk.img,xvda,w", "file:/guests/data.img,xvdb,w" ]
on_crash = "preserve"
"""


def need_writer(host):
    """The guest of this suite: demo's disk, and a second one with a file system of its own."""
    if host.status("xl domid writer")[0]:
        host.write("/etc/xen/writer.cfg", CONFIG)
        host.run("rm -f /guests/data.img; truncate -s 192M /guests/data.img; mkfs.ext4 -q /guests/data.img")
        host.start("/etc/xen/writer.cfg")


@suite.check
def guest_sees_xen_and_its_kernel(host):
    need_writer(host)
    expect(host.guest("writer", "cat /sys/hypervisor/type").strip() == "xen", "/sys/hypervisor/type is not xen")
    expect(host.guest("writer", "uname -r").strip() == host.run("uname -r").strip(), "another kernel")
    expect(host.guest("writer", "nproc").strip() == "2", "not both vCPUs are online")
    expect(host.guest("writer", "cat /etc/debian_version").startswith("12"), "not Debian 12")


@suite.check
def block_list_shows_connected_disks(host):
    need_writer(host)
    text = host.run("xl block-list writer")
    expect(re.match(r"Vdev\s+BE\s+handle\s+state\s+evt-ch\s+ring-ref\s+BE-path", text), f"heading: {text[:80]!r}")
    rows = {r[0]: r for r in (l.split() for l in text.splitlines()[1:])}
    expect(set(rows) == {"51712", "51728"}, f"disks: {sorted(rows)}")
    domid = host.run("xl domid writer").strip()
    for number, row in rows.items():
        expect(row[1] == "0" and row[3] == "4", f"not connected to Domain 0: {row}")
        # With two vCPUs there are two queues, each with its channel; xl looks for the one of a single queue.
        channel = host.run(f"xenstore-read /local/domain/{domid}/device/vbd/{number}/queue-1/event-channel")
        expect(int(channel) > 0, f"the second queue of {number} has event channel {channel.strip()}")


@suite.check
def sixty_four_megabytes_come_back(host):
    need_writer(host)
    written = host.guest("writer", "mount /dev/xvdb /mnt && dd if=/dev/urandom of=/mnt/data bs=1M count=64 2>/dev/null "
                         "&& sha256sum < /mnt/data && umount /mnt", 300)
    read = host.guest("writer", "echo 3 > /proc/sys/vm/drop_caches; mount -o ro /dev/xvdb /mnt && "
                      "sha256sum < /mnt/data && umount /mnt", 300)
    expect(written == read, f"written {written.strip()}, read back {read.strip()}")
    host.run("e2fsck -f -n /guests/data.img", 120)
    outside = host.run("mount -o loop,ro /guests/data.img /mnt && sha256sum < /mnt/data; umount /mnt", 240)
    expect(written == outside, f"written {written.strip()}, Domain 0 reads {outside.strip()}")


@suite.check
def many_small_synchronous_writes(host):
    need_writer(host)
    host.guest("writer", "mount /dev/xvdb /mnt && for i in $(seq 50); do echo $i > /mnt/$i && sync /mnt/$i; done; "
               "cat $(seq -f /mnt/%g 50) | md5sum; umount /mnt", 240)
    host.run("e2fsck -f -n /guests/data.img", 120)


@suite.check
def destroyed_in_the_middle_of_writing(host):
    """The back-end lets go of every page and device, the file system's journal holds."""
    need_writer(host)
    host.guest("writer", "mount /dev/xvdb /mnt; (while :; do dd if=/dev/zero of=/mnt/busy bs=64k count=800 conv=fsync; "
               "done) >/dev/null 2>&1 & sleep 2; echo started")
    host.run("sleep 2; xl destroy writer")
    expect(host.status("xl domid writer")[0] != 0, "the guest is still there")
    host.until("no loop device is left", lambda: not host.run("losetup -a").strip(), 60)
    status, text = host.status("e2fsck -f -p /guests/data.img", 240)
    expect(status in (0, 1), f"e2fsck after the guest's death ended with {status}: {text.strip()[-500:]}")
    log = host.run("dmesg")
    for word in ("BUG:", "Oops", "general protection", "stack segment"):
        expect(word not in log, f"Domain 0's kernel says: {log[log.find(word) - 200 : log.find(word) + 800]}")


@suite.check
def disk_that_is_missing_is_refused(host):
    host.write("/etc/xen/nodisk.cfg", CONFIG.replace('"writer"', '"nodisk"').replace("/guests/data.img", "/guests/none"))
    status, text = host.status("xl create /etc/xen/nodisk.cfg")
    expect(status != 0 and "/guests/none" in text, f"status {status}: {text.strip()[-300:]}")
    expect(host.status("xl domid nodisk")[0] != 0, "half a guest is left")
