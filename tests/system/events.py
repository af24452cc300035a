"""What xl does when a guest ends: each action of xl.cfg for each way to end."""

import re

import obedient
from framework import Suite, expect
from obedient import create, destroy_all, domid, tell

KEYS = {"on_poweroff": obedient.POWEROFF, "on_reboot": obedient.REBOOT, "on_crash": obedient.CRASH}

suite = Suite("events", kernel_args="xenolith.nodemo", prepare=lambda folder, _: {"initrd": obedient.into_dom0(folder)})


def start_all(host, action: str) -> dict[str, str]:
    """A guest for each key, with that action for it alone; gives their ids by key."""
    host.run("mkdir -p /var/lib/xen/dump; rm -f /var/lib/xen/dump/*")
    other = "destroy" if action == "preserve" else "preserve"
    return {key: create(host, key, "".join(f'{k} = "{action if k == key else other}"\n' for k in KEYS)) for key in KEYS}


def end_all(host, action: str) -> dict[str, str]:
    ids = start_all(host, action)
    for key, code in KEYS.items():
        tell(host, ids[key], code)
    return ids


def gone(host, name: str, number: str) -> None:
    host.until(f"{name} is taken away", lambda: not domid(host, name), 60)
    expect(host.status(f"xenstore-read /local/domain/{number}/name")[0] != 0, f"{name}'s xenstore tree is still there")


def alive_anew(host, name: str, old: str) -> None:
    host.until(f"{name} has a new id", lambda: domid(host, name) not in ("", old), 60)
    state = host.state(name)["state"]
    expect("s" not in state and "c" not in state, f"the new {name} is {state}")


def letter(key: str) -> str:
    return "c" if key == "on_crash" else "s"


@suite.check
def destroy(host):
    for key, number in end_all(host, "destroy").items():
        gone(host, key, number)


@suite.check
def preserve(host):
    for key, number in end_all(host, "preserve").items():
        state = host.until(f"{key} has ended", lambda: letter(key) in host.state(key)["state"] and host.state(key), 60)
        expect(state["id"] == number, f"{key} has another id: {state}")
    destroy_all(host)


@suite.check
def restart(host):
    for key, number in end_all(host, "restart").items():
        alive_anew(host, key, number)
        expect(number not in [r.split()[1] for r in host.run("xl list").splitlines()], f"the old {key} is still there")
    again = domid(host, "on_crash")
    tell(host, again, KEYS["on_crash"])  # the settings hold for the new one too
    alive_anew(host, "on_crash", again)
    destroy_all(host)


@suite.check
def rename_restart(host):
    for key, number in end_all(host, "rename-restart").items():
        alive_anew(host, key, number)
        rows = [l.split() for l in host.run("xl list").splitlines()]
        [old] = [r for r in rows if r[1] == number]
        expect(re.fullmatch(key + r"-\d{8}T\d{4}Z", old[0]), f"the old {key} is called {old[0]}")
        expect(letter(key) in old[4], f"the old {key} is {old[4]}")
    destroy_all(host)


def expect_core(host, key: str) -> None:
    """The dump's first bytes, and that the guest's memory is in it."""
    magic, size = host.run(f"head -c 4 /var/lib/xen/dump/{key} | od -An -c | tr -d ' \\n'; "
                           f"stat -c ' %s' /var/lib/xen/dump/{key}").split()
    expect(magic == "177ELF" and obedient.MEMORY << 20 <= int(size) < (obedient.MEMORY + 2) << 20, f"{key}'s dump: {magic}, {size} bytes")


@suite.check
def coredump_destroy(host):
    for key, number in end_all(host, "coredump-destroy").items():
        gone(host, key, number)
        expect_core(host, key)


@suite.check
def coredump_restart(host):
    for key, number in end_all(host, "coredump-restart").items():
        alive_anew(host, key, number)
        expect_core(host, key)
    destroy_all(host)


@suite.check
def soft_reset(host):
    """Only HVM guests can be reset in place: xl tries it with a PV one, says so and takes it away."""
    for key, number in end_all(host, "soft-reset").items():
        gone(host, key, number)
        expect("soft reset" in host.run(f"cat /var/log/xen/xl-{key}.log").replace("-", " ").lower(), f"xl has not tried with {key}")


@suite.check
def watchdog_and_fault(host):
    """The hypervisor ends these: a watchdog of a second that nobody feeds, an undefined instruction."""
    for how, key, shown in (("w", "on_watchdog", "s"), ("f", "on_crash", "c")):
        others = {k: "destroy" for k in (*KEYS, "on_watchdog")} | {key: "preserve"}
        number = create(host, "ended", "".join(f'{k} = "{v}"\n' for k, v in others.items()))
        tell(host, number, how)
        host.until(f"{key} is done", lambda: shown in host.state("ended")["state"], 60)
        destroy_all(host)
