"""vCPUs, memory, disks and NICs that come and go while the guest runs and uses them."""

import re

from framework import Suite, expect

suite = Suite("hotplug", kernel_args="xenolith.nodemo")

MEMORY, LIMIT = 192, 320  # MiB
RATE = 128  # KB/s
CONFIG = f"""name = "hot"
type = "pv"
kernel = "/guests/demo/vmlinux"
ramdisk = "/guests/demo/initrd.img"
cmdline = "console=hvc0 root=/dev/xvda loglevel=4"
memory = {MEMORY}
maxmem = {LIMIT}
vcpus = 1
maxvcpus = 3
cpus_soft = "1"
disk = [ "file:/guests/demo/disk.img,xvda,w" ]
vif = [ "mac=00:16:3e:00:00:11,bridge=xenbr0" ]
"""


def need_hot(host) -> None:
    if host.status("xl domid hot")[0]:
        host.write("/run/hot.cfg", CONFIG)
        host.start("/run/hot.cfg")


def vcpus(host) -> list[list[str]]:
    """Rows of `xl vcpu-list`, without name and id: vCPU, CPU, state, seconds, affinity."""
    return [l.split()[2:] for l in host.run("xl vcpu-list hot").splitlines()[1:]]


@suite.check
def limits_of_the_file_hold(host):
    need_hot(host)
    rows = vcpus(host)
    expect([r[2] == "--p" for r in rows] == [False, True, True], f"one of three is online: {rows}")
    expect(all(r[-3:] == ["all", "/", "1"] for r in rows), f"cpus_soft is 1: {rows}")
    expect(host.guest("hot", "nproc; cat /sys/devices/system/cpu/possible").split() == ["1", "0-2"], "the guest sees others")
    expect(host.state("hot")["mem"] == str(MEMORY), f"xl list: {host.state('hot')}")


def online(host) -> int:
    return int(host.guest("hot", "nproc"))


@suite.check
def vcpus_come_and_go(host):
    """The guest brings them online by itself, they do work, and the guest lives on without them."""
    need_hot(host)
    host.run("xl vcpu-set -i hot 3")  # more than the host has: -i, or xl refuses
    host.until("the guest uses three vCPUs", lambda: online(host) == 3, 30)
    before = {r[0]: float(r[3]) for r in vcpus(host)}
    host.guest("hot", "for n in 1 2; do taskset -c $n timeout 3 sh -c 'while :; do :; done' & done; wait; true")
    after = {r[0]: float(r[3]) for r in vcpus(host)}
    expect(all(after[n] - before[n] > 0.8 for n in "12"), f"seconds used before {before}, after {after}")
    host.run("xl vcpu-set hot 1")
    host.until("the guest uses one vCPU", lambda: online(host) == 1, 30)
    host.until("the others are shown as down", lambda: [r[2] for r in vcpus(host)][1:] == ["--p"] * 2, 10)
    host.run("xl vcpu-set hot 2")
    host.until("the guest uses two vCPUs", lambda: online(host) == 2, 30)
    status, text = host.status("xl vcpu-set -i hot 4")
    expect(status != 0, f"more vCPUs than maxvcpus: {text}")
    expect(len(vcpus(host)) == 3, "more vCPUs than maxvcpus are there")


def guest_mib(host) -> int:
    return int(host.guest("hot", "awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo"))


def free_mib(host) -> int:
    return int(host.run("xl info | awk '/^free_memory/ { print $3 }'"))


def set_memory(host, mib: int) -> None:
    """Both the guest and the host must see the difference."""
    had, saw, free = int(host.state("hot")["mem"]), guest_mib(host), free_mib(host)
    host.run(f"xl mem-set hot {mib}")
    host.until(f"hot has {mib} MiB", lambda: abs(int(host.state("hot")["mem"]) - mib) <= 1, 30)
    more = mib - had
    host.until(f"the guest sees {more:+} MiB", lambda: abs(guest_mib(host) - saw - more) <= 2, 10)
    host.until(f"the host has {-more:+} MiB", lambda: abs(free - free_mib(host) - more) <= 2, 20)


@suite.check
def memory_goes_down_and_up(host):
    need_hot(host)
    for mib in (MEMORY - 32, MEMORY, LIMIT, MEMORY):
        set_memory(host, mib)
    host.guest("hot", "dd if=/dev/urandom of=/run/a bs=1M count=24 2>/dev/null && cp /run/a /run/b && cmp /run/a /run/b; "
               "rm /run/a /run/b", 240)


@suite.check
def memory_above_maxmem_is_refused(host):
    need_hot(host)
    before = host.state("hot")["mem"]
    status, text = host.status(f"xl mem-set hot {LIMIT + 64}")
    expect(status != 0 and "static_max" in text, f"status {status}: {text}")
    host.run("sleep 2")
    expect(host.state("hot")["mem"] == before, "and yet it has changed")


@suite.check
def mem_max_moves_the_limit(host):
    """xl's limit is the hypervisor's: the guest cannot have more, whatever its balloon wants."""
    need_hot(host)
    host.run(f"xl mem-max hot {MEMORY + 32}")
    domain = host.run("xl list -l hot")
    expect(re.search(rf'"max_memkb": {(MEMORY + 32) * 1024}\b', domain), f"xl list -l: {domain[:1500]}")
    status, text = host.status(f"xl mem-set hot {MEMORY + 64}")
    expect(status != 0, f"more than mem-max is taken: {text}")
    status, text = host.status(f"xl mem-max hot {MEMORY - 64}")
    expect(status != 0, f"a limit below what it has is taken: {text}")
    host.run(f"xl mem-max hot {LIMIT}")


def new_disk(host, name: str, mib: int) -> None:
    host.run(f"rm -f /guests/{name}.img; truncate -s {mib}M /guests/{name}.img; mkfs.ext4 -q /guests/{name}.img")


def mount_new(host, disk: str, where: str) -> None:
    """In the guest, which may not have found the disk yet."""
    host.guest("hot", f"for i in $(seq 50); do [ -b /dev/{disk} ] && break; sleep 0.2; done; mkdir -p {where} && mount /dev/{disk} {where}")


@suite.check
def disks_come_and_go_while_one_is_written(host):
    need_hot(host)
    new_disk(host, "one", 96)
    new_disk(host, "two", 32)
    host.run("xl block-attach hot file:/guests/one.img,xvdc,w")
    mount_new(host, "xvdc", "/one")
    host.guest("hot", "dd if=/dev/urandom of=/run/data bs=1M count=24 2>/dev/null; "
               "(for n in 1 2 3; do cat /run/data > /one/$n; sync; done; touch /run/written) >/dev/null 2>&1 &\n true", 120)
    for _ in range(2):
        host.run("xl block-attach hot file:/guests/two.img,xvdd,w")
        mount_new(host, "xvdd", "/two")
        host.guest("hot", "date > /two/date && umount /two")
        host.run("xl block-detach hot xvdd")
        host.until("xvdd is gone", lambda: host.guest("hot", "test -b /dev/xvdd || echo gone").strip() == "gone", 20)
    written = host.guest("hot", "while ! [ -e /run/written ]; do sleep 0.5; done; cat /one/[123] | sha256sum; "
                         "umount /one; rm -f /run/data /run/written", 240)
    host.run("xl block-detach hot xvdc")
    host.run("e2fsck -f -n /guests/one.img && e2fsck -f -n /guests/two.img", 120)
    read = host.run("mount -o loop,ro /guests/one.img /mnt && cat /mnt/[123] | sha256sum; umount /mnt", 120)
    expect(read == written, f"the guest wrote {written.strip()}, Domain 0 reads {read.strip()}")
    expect(len(host.run("xl block-list hot").splitlines()) == 2, "not only the first disk is left")


@suite.check
def disk_is_taken_while_it_is_mounted(host):
    """The guest's kernel has errors then, and lives; the host gets the disk back in a state that can be mended."""
    need_hot(host)
    new_disk(host, "one", 32)
    host.run("xl block-attach hot file:/guests/one.img,xvdc,w")
    mount_new(host, "xvdc", "/one")
    host.guest("hot", "(while cat /bin/bash > /one/busy; do sync; done) >/dev/null 2>&1 &\n sleep 2")
    host.status("xl block-detach hot xvdc", 60)
    host.guest("hot", "umount -l /one; sync /root; true")
    host.until("the disk is gone", lambda: len(host.run("xl block-list hot").splitlines()) == 2, 40)
    host.until("one loop device is left", lambda: "one.img" not in host.run("losetup -a"), 20)
    status, text = host.status("e2fsck -f -p /guests/one.img", 120)
    expect(status in (0, 1), f"e2fsck ended with {status}: {text}")
    expect(host.guest("hot", "head -c 100000 /bin/bash | wc -c").strip() == "100000", "the guest's first disk has suffered")


def served_file(host, mib: int) -> str:
    """Random bytes in Domain 0, by HTTP on port 8001; gives their sum."""
    return host.run(f"mkdir -p /run/www && dd if=/dev/urandom of=/run/www/file bs=1M count={mib} 2>/dev/null; "
                    "busybox httpd -p 8001 -h /run/www 2>/dev/null; sha256sum < /run/www/file")


def attach_nic(host, number: int, options: str = "") -> None:
    """A second NIC, in a network of Domain 0's own."""
    host.run(f"ip link show side >/dev/null 2>&1 || {{ ip link add side type bridge; ip link set side up; "
             "ip addr add 192.168.77.1/24 dev side; }")
    host.run(f"xl network-attach hot mac=00:16:3e:00:00:2{number} bridge=side {options}")
    host.guest("hot", "for i in $(seq 50); do [ -e /sys/class/net/eth1 ] && break; sleep 0.2; done; "
               "ip link set eth1 up && ip addr add 192.168.77.2/24 dev eth1 && ping -c 2 -W 5 192.168.77.1")


def detach_nic(host, number: int) -> None:
    host.run(f"xl network-detach hot 00:16:3e:00:00:2{number}")
    host.until("eth1 is gone", lambda: host.guest("hot", "test -e /sys/class/net/eth1 || echo gone").strip() == "gone", 20)
    expect(len(host.run("xl network-list hot").splitlines()) == 2, "not only the first NIC is left")


@suite.check
def nics_come_and_go_in_use(host):
    need_hot(host)
    served = served_file(host, 6)
    for number in range(2):
        attach_nic(host, number)
        got = host.guest("hot", "wget -q -O - http://192.168.77.1:8001/file | sha256sum", 120)
        expect(got == served, f"{got.strip()} instead of {served.strip()}")
        host.guest("hot", "(while :; do wget -q -T 5 -t 1 -O /dev/null http://192.168.77.1:8001/file || break; done) "
                   ">/dev/null 2>&1 & sleep 1; echo started")
        detach_nic(host, number)  # in the middle of a transfer
    host.guest("hot", "ping -c 2 -W 5 10.0.2.2")


def seconds_to_send(host, mib: int) -> float:
    """From the guest to Domain 0 by its second NIC, until the other side has got all of it."""
    host.run("(busybox nc -l -p 9000 > /run/received) >/dev/null 2>&1 & sleep 1")
    there, took = host.guest("hot", f"head -c {mib}M /dev/urandom > /run/sent; sha256sum < /run/sent; a=$(date +%s%N); "
                             "nc -N -w 60 192.168.77.1 9000 < /run/sent; echo $((($(date +%s%N) - a) / 1000000))", 120).splitlines()
    here = host.run("sleep 1; sha256sum < /run/received").split()[0]
    expect(here == there.split()[0], f"sent {there}, received {here}")
    return int(took) / 1000


@suite.check
def rate_limits_what_a_guest_sends(host):
    """rate= is for what leaves the guest; the same transfer without it takes a fraction of the time."""
    need_hot(host)
    took = []
    for number, options in ((3, ""), (4, f"rate={RATE}KB/s@50ms")):
        attach_nic(host, number, options)
        took.append(seconds_to_send(host, 1))
        detach_nic(host, number)
    least = 1024 / RATE * 0.75  # the first of it is a burst
    expect(least <= took[1] <= 4 * least and took[0] < took[1] - 1, f"at {RATE} KB/s {took[1]} s for a megabyte, else {took[0]} s")
