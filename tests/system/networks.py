"""Split NICs on the bridge: Domain 0, two guests and the outside reach each other, unharmed."""

import re

from devices import FileServer
from framework import Suite, expect

suite = Suite("networks", kernel_args="xenolith.nodemo")
MEGABYTES = 8


@suite.check
def network_list_shows_the_nic(host):
    host.need_guest("demo")
    text = host.run("xl network-list demo")
    expect(re.match(r"Idx\s+BE\s+Mac Addr\.\s+handle\s+state", text), f"heading: {text[:80]!r}")
    row = text.splitlines()[1].split()
    expect(row[:3] == ["0", "0", "00:16:3e:00:00:01"] and row[4] == "4", f"row: {row}")
    expect("vif" in host.run("brctl show xenbr0"), "the back-end is not on the bridge")


def fetch_from_domain_0(host, guest: str, dhcp=True):
    host.run(f"mkdir -p /run/www && dd if=/dev/urandom of=/run/www/file bs=1M count={MEGABYTES} 2>/dev/null; "
             "busybox httpd -p 8000 -h /run/www 2>/dev/null; true")
    sum0 = host.run("sha256sum < /run/www/file")
    address = host.run("ip -4 -o addr show xenbr0").split()[3].split("/")[0]
    host.guest(guest, f"ping -c 3 -W 5 {address}")
    expect(host.guest(guest, f"wget -q -O - http://{address}:8000/file | sha256sum", 240) == sum0, "checksums differ")


@suite.check
def guest_and_domain_0(host):
    host.need_guest("demo")
    fetch_from_domain_0(host, "demo")
    serve(host, "demo")
    address = host.ip("demo")
    host.run(f"ping -c 3 -W 5 {address}")
    there = host.guest("demo", "sha256sum < /run/www/file")
    expect(host.run(f"wget -q -O - http://{address}:8000/file | sha256sum", 240) == there, "checksums differ")


def serve(host, guest: str):
    """Random bytes by HTTP from inside a guest."""
    host.guest(guest, f"mkdir -p /run/www; dd if=/dev/urandom of=/run/www/file bs=1M count={MEGABYTES} 2>/dev/null; "
               "busybox httpd -p 8000 -h /run/www 2>/dev/null; sleep 1; echo serving", 240)


@suite.check
def guest_and_guest(host):
    host.need_guest("demo")
    host.need_guest("demo2")
    serve(host, "demo")
    serve(host, "demo2")
    for a, b in (("demo", "demo2"), ("demo2", "demo")):
        address = host.ip(a)
        host.guest(b, f"ping -c 3 -W 5 {address}")
        there = host.guest(a, "sha256sum < /run/www/file")
        here = host.guest(b, f"wget -q -O - http://{address}:8000/file | sha256sum", 240)
        expect(here == there, f"{b} read {here.strip()} from {a}, which has {there.strip()}")


@suite.check
def guest_and_outside(host):
    host.need_guest("demo")
    host.guest("demo", "ping -c 3 -W 5 10.0.2.2")
    with FileServer(4 << 20) as server:
        got = host.guest("demo", f"wget -q -O - {server.url} | sha256sum", 240).split()[0]
    expect(got == server.sha256, f"{got} instead of {server.sha256}")


@suite.check
def guest_dies_while_it_sends(host):
    host.need_guest("demo2")
    serve(host, "demo2")
    address = host.ip("demo2")
    host.run(f"(while :; do wget -q -O /dev/null http://{address}:8000/file || break; done) >/dev/null 2>&1 & "
             "sleep 3; xl destroy demo2; kill %1; true")
    host.until("its back-end is gone", lambda: host.run("ip -o link").count("vif") <= 1, 60)
    host.run("ping -c 2 -W 5 10.0.2.2")
