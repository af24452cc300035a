"""The scheduler: two guests that want a CPU for themselves get the same share of it."""

from framework import Suite, expect

suite = Suite("shares", kernel_args="xenolith.nodemo")
SECONDS = 30


@suite.check
def two_guests_share_a_cpu_equally(host):
    names = ["left", "right"]
    for name in names:
        host.run(f"sed -e 's/demo2/{name}/; /^vif/d' /etc/xen/demo2.cfg > /run/{name}.cfg; "
                 f"echo 'cpus = \"1\"' >> /run/{name}.cfg")
        host.start(f"/run/{name}.cfg")
    for name in names:
        host.guest(name, "(while :; do :; done) >/dev/null 2>&1 & echo started")
    host.run("sleep 5")  # what the start has left in the scheduler's accounts fades
    first = cpu_seconds(host, names)
    host.run(f"sleep {SECONDS}", SECONDS + 60)
    last = cpu_seconds(host, names)
    used = {n: round(last[n] - first[n], 1) for n in names}
    for name in names:
        expect("1" == vcpu_cpu(host, name), f"{name} does not run on CPU 1, as cpus= says")
        host.run(f"xl destroy {name}")
    least, most = min(used.values()), max(used.values())
    expect(least > SECONDS / 4, f"CPU time used in {SECONDS} s: {used}")
    # `xl list` counts tenths: that much is rounding, not unfairness.
    expect(most - least <= 0.05 * most + 0.2, f"shares differ by more than 5%: {used}")


def cpu_seconds(host, names) -> dict[str, float]:
    """From one `xl list`: what passes between two of them would count for one guest only."""
    rows = [l.split() for l in host.run("xl list").splitlines()]
    return {r[0]: float(r[-1]) for r in rows if r[0] in names}


def vcpu_cpu(host, name: str) -> str:
    return host.run(f"xl vcpu-list {name}").splitlines()[1].split()[-3]
