"""The scheduler: what guests that all want CPU 1 get of it, and pools of CPUs."""

from framework import Suite, expect

suite = Suite("shares", cmdline="sched=credit", kernel_args="xenolith.nodemo")
GUESTS = ["left", "right"]
SECONDS = 12
# `xl list` counts tenths: that much of two readings is rounding, not unfairness.
ROUNDING = 0.2


@suite.check
def two_guests_share_a_cpu_equally(host):
    used = race(host)
    for name in GUESTS:
        expect("1" == vcpu_cpu(host, name), f"{name} does not run on CPU 1, as cpus= says")
    expect_share(host, used, "left", 1 / 2)


@suite.check
def weights_count(host):
    need_guests(host)
    host.run("xl sched-credit -d right -w 512")
    expect(setting(host, "right", "Weight") == 512, f"xl sched-credit shows {setting(host, 'right', 'Weight')}")
    used = race(host)
    host.run("xl sched-credit -d right -w 256")
    if host.hypervisor.is_xenolith:
        expect_share(host, used, "left", 1 / 3)
    else:  # it reckons weights over all CPUs of a pool: of one CPU of two they leave anything from that to equal parts
        share = used["left"] / sum(used.values())
        expect(1 / 3 - allowed(host, 1 / 3) <= share <= 1 / 2 + allowed(host, 1 / 2) / 2, f"left should have 33% to 50%: {used}")


@suite.check
def cap_limits(host):
    """cap= in the guest's file first, then xl sched-credit -c."""
    need_guests(host)
    host.run("xl create -p /run/left.cfg 'name=\"idle\"' 'cap=40' 'cpu_weight=700'")
    settings = {what: setting(host, "idle", what) for what in ("Cap", "Weight")}
    host.run("xl destroy idle; xl sched-credit -d left -c 40")
    expect(settings == {"Cap": 40, "Weight": 700}, f"cap=40 cpu_weight=700 give {settings}")
    used = race(host)
    host.run("xl sched-credit -d left -c 0")
    expect_share(host, used, "left", 0.40)  # the rest is the other's: together they use CPU 1 up


@suite.check
def scheduler_parameters(host):
    host.run("xl sched-credit -s -t 20 -r 500")
    text = host.run("xl sched-credit -s")
    host.run("xl sched-credit -s -t 30 -r 1000")
    expect("tslice=20ms" in text and "ratelimit=500us" in text, text)
    status, text = host.status("xl sched-credit -s -t 5000")
    expect(status != 0, f"a slice of 5 s is taken: {text}")


@suite.check
def vcpu_pin_moves_it(host):
    need_guests(host)
    for cpu in "01":
        host.run(f"xl vcpu-pin left 0 {cpu}")
        host.until(f"left runs on CPU {cpu}", lambda: vcpu_cpu(host, "left") == cpu, 10)
    host.run("xl vcpu-pin left 0 all 1")
    row = host.run("xl vcpu-list left").splitlines()[1].split()
    expect(row[-3:] == ["all", "/", "1"], f"xl vcpu-list shows {row}")
    status, text = host.status("xl vcpu-pin left 0 7")
    expect(status != 0, f"a CPU that is not there is taken: {text}")
    host.run("xl vcpu-pin left 0 1 all")


@suite.check
def cpupool_takes_a_guest(host):
    need_guests(host)
    # Stock Xen may never come back from taking a CPU away that is busy.
    host.run("xl vcpu-pin left 0 0 && xl vcpu-pin right 0 0 && sleep 1 && xl cpupool-cpu-remove Pool-0 1")
    host.run("xl cpupool-create 'name=\"side\"' 'sched=\"credit2\"'")
    host.run("xl cpupool-cpu-add side 1 && xl cpupool-migrate right side")
    try:
        pools = {row[0]: row for row in (l.split() for l in host.run("xl cpupool-list").splitlines()[1:])}
        expect(pools["side"][1:3] == ["1", "credit2"] and pools["side"][-1] == "1", f"xl cpupool-list: {pools}")
        expect(pools["Pool-0"][1:3] == ["1", "credit"], f"xl cpupool-list: {pools}")
        before = cpu_seconds(host)["right"]
        host.run("sleep 3; xl sched-credit2 -d right -w 300 -c 50")
        expect(setting(host, "right", "Weight", "sched-credit2") == 300, "the weight is not kept")
        expect(cpu_seconds(host)["right"] - before > 1, "it does not run in its pool")
        expect(vcpu_cpu(host, "right") == "1", "it does not run on the pool's CPU")
        host.run("xl create -p /run/left.cfg 'name=\"idle\"' 'cpus=\"all\"' 'pool=\"side\"'")
        listed = host.run("xl list -c idle").splitlines()[1].split()
        host.run("xl destroy idle")
        expect(listed[-1] == "side", f"pool= puts it into {listed[-1]}")
        for refused in ("xl cpupool-destroy side", "xl cpupool-migrate Domain-0 side",
                        "xl cpupool-cpu-remove Pool-0 0", "xl cpupool-cpu-add side 0"):
            status, text = host.status(f"{refused} 2>&1")  # xl's status tells of the first two only
            expect(status or "Error" in text, f"`{refused}` succeeds: {text}")
    finally:
        host.status("xl cpupool-migrate right Pool-0; xl cpupool-destroy side; xl cpupool-cpu-add Pool-0 1")
        host.status("xl vcpu-pin left 0 1; xl vcpu-pin right 0 1")
    pools = host.run("xl cpupool-list").splitlines()[1:]
    expect(len(pools) == 1 and pools[0].split()[1] == "2", f"xl cpupool-list: {pools}")


def need_guests(host) -> None:
    """Two that spin, both on CPU 1 alone."""
    for name in GUESTS:
        if not host.status(f"xl domid {name}")[0]:
            continue
        host.run(f"sed -e 's/demo2/{name}/; /^vif/d' /etc/xen/demo2.cfg > /run/{name}.cfg; "
                 f"echo 'cpus = \"1\"' >> /run/{name}.cfg")
        host.start(f"/run/{name}.cfg")
        host.guest(name, "(while :; do :; done) >/dev/null 2>&1 & echo started")


def race(host) -> dict[str, float]:
    """What each guest uses in some seconds."""
    need_guests(host)
    host.run("sleep 3")  # what was before in the scheduler's accounts fades
    first = cpu_seconds(host)
    host.run(f"sleep {SECONDS}", SECONDS + 60)
    last = cpu_seconds(host)
    return {n: round(last[n] - first[n], 1) for n in GUESTS}


def expect_share(host, used: dict[str, float], name: str, share: float) -> None:
    total = sum(used.values())
    expect(total > SECONDS / 2, f"CPU time used in {SECONDS} s: {used}")
    expect(abs(used[name] - share * total) <= allowed(host, share) * total + ROUNDING,
           f"{name} should have {share:.0%}: {used}")


def allowed(host, share: float) -> float:
    """How far off: 5% of the share; stock Xen samples who runs, and is not as exact in a short time."""
    return share * (0.05 if host.hypervisor.is_xenolith else 0.2)


def cpu_seconds(host) -> dict[str, float]:
    """From one `xl list`: what passes between two of them would count for one guest only."""
    rows = [l.split() for l in host.run("xl list").splitlines()]
    return {r[0]: float(r[-1]) for r in rows if r[0] in GUESTS}


def setting(host, name: str, what: str, command: str = "sched-credit") -> int:
    """A column of `xl sched-credit`'s row for the guest."""
    lines = [l.split() for l in host.run(f"xl {command} -d {name}").splitlines()]
    heading = next(l for l in lines if "Name" in l)
    return int(next(l for l in lines if l[0] == name)[heading.index(what)])


def vcpu_cpu(host, name: str) -> str:
    """Where its vCPU 0 is."""
    return host.run(f"xl vcpu-list {name}").splitlines()[1].split()[3]
