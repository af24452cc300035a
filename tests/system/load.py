"""Many guests: in a row, at once, and two that work while everything about them changes.

Two sizes of the same checks.
"""

import base64
from dataclasses import dataclass

from extras import comes_back_to, event_channels, expect_healthy, free_pages, page_counter_and_guests, tiny
from framework import Suite, expect


@dataclass
class Size:
    in_a_row: int
    at_once: int
    soak_seconds: int


SHORT, LONG = Size(10, 8, 30), Size(200, 40, 600)

short = Suite("load", memory=2304, dom0_memory=1024, kernel_args="xenolith.nodemo", prepare=page_counter_and_guests)
long = Suite("load_long", memory=3072, dom0_memory=1280, kernel_args="xenolith.nodemo", prepare=page_counter_and_guests)


def guests_in_a_row(host, size: Size):
    """Not a page and not an event channel is lost, however many there were."""
    config = tiny(host, "row", "tick")
    create = f"xl create {config} >/dev/null && xl destroy row"
    host.run(f"{create} && {create} && sleep 1")  # what the first ones leave for the next, in Domain 0
    pages, channels = free_pages(host), event_channels(host)
    host.run(f"for i in $(seq {size.in_a_row}); do {create} || exit 1; done", 60 + 20 * size.in_a_row)
    comes_back_to(host, pages)
    host.until("the event channels are closed", lambda: event_channels(host) == channels, 30)
    ids = host.run("xl list").splitlines()[1:]
    expect(len(ids) == 1, f"left over: {ids[1:]}")
    expect_healthy(host)


def guests_at_once(host, size: Size):
    """All run, each gets time, and afterwards all memory is back."""
    names = [f"many{n}" for n in range(size.at_once)]
    host.run(f"xl create {tiny(host, 'many', 'tick')} >/dev/null && xl destroy many; sleep 1")
    pages, channels = free_pages(host), event_channels(host)
    for name in names:
        host.run(f"xl create {tiny(host, name, 'tick')}")
    expect(pages - free_pages(host) > size.at_once * 20 * 256, "the guests have not the memory that they should have")

    def seconds():
        rows = [l.split() for l in host.run("xl vcpu-list").splitlines()[1:]]
        return {r[0]: float(r[5]) for r in rows if r[0] in names}

    before = seconds()
    expect(len(before) == size.at_once, f"only {sorted(before)} are there")
    host.until("every guest has got time", lambda: all(now > before[n] for n, now in seconds().items()), 240)
    host.run("".join(f"xl destroy {n} & " for n in names) + "wait", 120 + 5 * size.at_once)
    comes_back_to(host, pages, 0 if host.hypervisor.is_xenolith else 16)
    host.until("the event channels are closed", lambda: event_channels(host) == channels, 30)
    expect_healthy(host)


DISK = "/run/soak.img"
# What comes and goes while they work, one thing after the other and from the beginning again.
CHANGES = f"""end=$((SECONDS + %d)); turns=0
mustdo() {{ "$@" >/run/soak.out 2>&1 || {{ echo "turn $turns: $*: $(tail -n 5 /run/soak.out)"; exit 1; }}; }}
while [ $SECONDS -lt $end ]; do
    mustdo xl block-attach soak1 file:{DISK},xvdc,w
    mustdo xl vcpu-set soak1 1
    mustdo xl mem-set soak1 150m
    mustdo xl network-attach soak2 bridge=xenbr0
    mustdo xl vcpu-set soak2 1
    mustdo xl block-detach soak1 xvdc
    mustdo xl vcpu-set soak1 2
    mustdo xl mem-set soak1 192m
    mustdo xl network-detach soak2 1
    mustdo xl vcpu-set soak2 2
    turns=$((turns + 1))
done
echo $turns"""
# Each loop compares what it gets with what it must get, and writes down what differs.
WORK = r"""mount -t tmpfs work /mnt
for cpu in 1 2; do
    (while :; do dd if=/dev/zero bs=64k count=100 2>/dev/null | sha256sum > /mnt/sum$cpu
        read -r sum _ < /mnt/sum$cpu; : "${first:=$sum}"; [ "$sum" = "$first" ] || echo "sum $sum" >> /run/bad
        touch /mnt/summed$cpu; done) &
done
(while :; do
    dd if=/dev/urandom of=/root/work bs=64k count=60 conv=fsync 2>/dev/null; sha256sum < /root/work > /mnt/file
    echo 3 > /proc/sys/vm/drop_caches
    [ "$(sha256sum < /root/work)" = "$(cat /mnt/file)" ] || echo file >> /run/bad
    touch /mnt/compared; done) &
(while :; do ping -q -c 200 -i 0.02 -s 1400 10.0.2.2; done) &
"""


def put_file(host, name: str, path: str, text: str) -> None:
    """In pieces: busybox's shell takes no longer lines from a console."""
    code = base64.b64encode(text.encode()).decode()
    for at in range(0, len(code), 400):
        host.guest(name, f"printf %s {code[at : at + 400]} >> {path}.base64")
    host.guest(name, f"base64 -d < {path}.base64 > {path}")


def soak(host, size: Size):
    """Two guests of two vCPUs: nothing that they compute, write or read is wrong, and all can end."""
    host.run("xl create /etc/xen/demo2.cfg && xl destroy demo2; sleep 2; truncate -s 16M " + DISK)
    # Both guests keep all CPUs busy, and libxl gives a hot-plug script of Domain 0's no more than 40 s.
    host.run("xl sched-credit -d 0 -w 8192 2>/dev/null || xl sched-credit2 -d 0 -w 8192")
    pages = free_pages(host)
    for name in ("soak1", "soak2"):
        disk = "/guests/demo/disk.img" if name == "soak1" else ""
        base = "demo" if disk else "demo2"
        host.run(f"sed -e 's/\"{base}\"/\"{name}\"/; s/^vcpus.*/vcpus = 2/; s/^memory.*/memory = 192/' /etc/xen/{base}.cfg > /run/{name}.cfg")
        host.start(f"/run/{name}.cfg")
        put_file(host, name, "/run/work", WORK)
        host.guest(name, "sh /run/work </dev/null >/dev/null 2>&1; echo started")
    turns = host.run(CHANGES % size.soak_seconds, 2 * size.soak_seconds + 300).strip()
    expect(turns.isdigit() and int(turns) > 0, f"the changes ended with {turns}")
    for name in ("soak1", "soak2"):
        bad = host.guest(name, "cat /run/bad 2>/dev/null; true")
        expect(not bad.strip(), f"{name} has computed or read something wrong: {bad}")
        host.guest(name, "ls /mnt/summed1 /mnt/summed2 /mnt/compared")
        log = host.guest(name, "dmesg | grep -E 'BUG:|Oops|soft lockup|general protection'; true")
        expect(not log.strip(), f"{name}'s kernel says: {log[-800:]}")
    host.run("xl destroy soak1; xl destroy soak2")
    comes_back_to(host, pages, 0 if host.hypervisor.is_xenolith else 16)
    expect_healthy(host)


def _with(size: Size, function):
    def check(host):
        function(host, size)
    check.__name__ = function.__name__
    return check


for suite, size in ((short, SHORT), (long, LONG)):
    for function in (guests_in_a_row, guests_at_once, soak):
        suite.check(_with(size, function))
