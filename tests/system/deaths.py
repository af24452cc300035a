"""Guests that die at bad moments or work against the host: Domain 0 and a neighbour go on, and every page is back.

The same, closer to the hypervisor and without Domain 0's drivers: tests/guest/cases/child_deaths.cpp.
"""

import re

from extras import comes_back_to, event_channels, expect_healthy, free_pages, page_counter_and_guests, tiny
from framework import Suite, expect

suite = Suite("deaths", kernel_args="xenolith.nodemo", prepare=page_counter_and_guests)


class Unharmed:
    """What must be after a death as it was before: `with Unharmed(host): …`."""

    def __init__(self, host):
        self.host = host
        if host.status("test -e /run/warm")[0]:
            # What the first guest with devices costs Domain 0, it keeps.
            host.run("xl create /etc/xen/demo.cfg && xl destroy demo && sleep 2 && touch /run/warm", 180)
        if host.status("xl domid neighbour")[0]:
            host.run(f"xl create {tiny(host, 'neighbour', 'tick')}")

    def __enter__(self):
        self.pages, self.channels = free_pages(self.host), event_channels(self.host)
        self.seconds = float(self.host.state("neighbour")["time"])

    def __exit__(self, kind, *_):
        if kind:
            return
        comes_back_to(self.host, self.pages, 0 if self.host.hypervisor.is_xenolith else 16)
        self.host.until("Domain 0's event channels are closed", lambda: event_channels(self.host) == self.channels, 30)
        left = [name for name, _ in _listed(self.host)]
        expect(sorted(left) == ["Domain-0", "neighbour"], f"xl list shows {left}")
        self.host.until("the neighbour goes on", lambda: float(self.host.state("neighbour")["time"]) > self.seconds, 120)
        expect_healthy(self.host)


def _listed(host) -> list[tuple[str, str]]:
    """Names and numbers; half-built domains have no name yet."""
    rows = [re.match(r"(.*?)\s+(\d+)\s+\d+\s+\d+\s", l) for l in host.run("xl list").splitlines()[1:]]
    return [(r[1], r[2]) for r in rows if r]


@suite.check
def spinning_with_events_masked(host):
    with Unharmed(host):
        host.run(f"xl create {tiny(host, 'spin', 'spin')}")
        host.until("it has spun for two seconds", lambda: float(host.state("spin")["time"]) > 2, 60)
        host.run("xl destroy spin", 60)


@suite.check
def page_tables_destroyed_by_their_owner(host):
    with Unharmed(host):
        host.run(f"xl create {tiny(host, 'tables', 'no_tables')}")
        host.until("it has crashed", lambda: "c" in host.state("tables")["state"], 30)
        host.run("xl destroy tables", 60)


@suite.check
def creation_killed_half_way(host):
    """xl is killed at various moments; what it has built so far is destroyed."""
    with Unharmed(host):
        for delay in ("0.3", "1", "2", "3.5"):
            host.run(f"xl create /etc/xen/demo.cfg >/dev/null 2>&1 & sleep {delay}; kill -9 $!; wait; sleep 1; true")
            for name, number in _listed(host):
                if name not in ("Domain-0", "neighbour"):
                    host.run(f"xl destroy {number}", 120)
        host.run("losetup -D; sleep 1")


@suite.check
def front_end_that_lies(host):
    """A guest's rings full of nonsense, for xen-blkback and xen-netback."""
    devices = ('disk = [ "file:/guests/liar.img,xvda,w" ]\n'
               'vif = [ "mac=00:16:3e:00:00:09,bridge=xenbr0" ]\n')
    with Unharmed(host):
        host.run("truncate -s 8M /guests/liar.img")
        host.run(f"xl create -p {tiny(host, 'liar', 'liar', more=devices)}", 180)
        domid = host.run("xl domid liar").strip()
        host.run("xl unpause liar; sleep 2")
        _announce(host, f"/local/domain/{domid}/device/vbd/51712", "ring-ref 8 event-channel 3 protocol x86_64-abi", 3)
        _announce(host, f"/local/domain/{domid}/device/vif/0", "tx-ring-ref 9 rx-ring-ref 10 event-channel 4 "
                  "request-rx-copy 1 feature-rx-notify 1", 4)
        for kind, number in (("vbd", 51712), ("vif", 0)):
            state = f"/local/domain/0/backend/{kind}/{domid}/{number}/state"
            host.until(f"Domain 0's {kind} has taken its ring", lambda: host.run(f"xenstore-read {state}").strip() == "4", 30)
        host.run("ping -q -c 50 -i 0.1 -b 10.0.2.255 >/dev/null 2>&1; sleep 5", 60)  # something to receive
        host.run("xl destroy liar; rm /guests/liar.img", 120)


def _announce(host, path: str, nodes: str, state: int) -> None:
    words = nodes.split()
    pairs = " ".join(f"{path}/{key} {value}" for key, value in zip(words[::2], words[1::2]))
    host.run(f"xenstore-write {pairs} && xenstore-write {path}/state {state}")


@suite.check
def back_ends_taken_away(host):
    """The drivers of Domain 0 let go of a guest's disk and NIC, in use; then the guest ends."""
    with Unharmed(host):
        host.start("/etc/xen/demo.cfg")
        domid = host.run("xl domid demo").strip()
        host.guest("demo", "(while :; do dd if=/dev/zero of=/root/busy bs=64k count=200 conv=fsync; done) >/dev/null 2>&1 & "
                   "ping -q -f -w 100 10.0.2.2 >/dev/null 2>&1 & sleep 1; echo started")
        host.run(f"echo vif-{domid}-0 > /sys/bus/xen-backend/drivers/vif/unbind; "
                 f"timeout 60 sh -c 'echo vbd-{domid}-51712 > /sys/bus/xen-backend/drivers/vbd/unbind'", 120)
        expect(host.state("demo")["name"] == "demo", "the guest is gone")
        host.run("sleep 2; xl destroy demo", 180)
        host.run("losetup -D; sleep 1")
