"""What a person does with xl: each command's effect and what it prints."""

import re

from framework import Suite, expect

suite = Suite("lifecycle", kernel_args="xenolith.nodemo")


def fields(text: str) -> dict[str, str]:
    """`key : value` lines."""
    return {k.strip(): v.strip() for k, _, v in (l.partition(":") for l in text.splitlines())}


@suite.check
def info_names_the_hypervisor(host):
    info = fields(host.run("xl info"))
    machine = host.session.machine
    version = f"{info['xen_major']}.{info['xen_minor']}{info['xen_extra']}"
    expect(version.startswith("4.17"), f"xl info says {version}")
    expect(info["xen_version"] == version, f"xen_version is {info['xen_version']}, its parts are {version}")
    if host.hypervisor.is_xenolith:
        expect("xenolith" in info["xen_extra"].lower(), f"xen_extra is {info['xen_extra']!r}")
    expect(info["nr_cpus"] == str(machine.cpus), f"nr_cpus is {info['nr_cpus']}")
    expect(0.9 * machine.memory < int(info["total_memory"]) <= machine.memory, f"total_memory {info['total_memory']}")
    expect(0 < int(info["free_memory"]) < int(info["total_memory"]), f"free_memory is {info['free_memory']}")
    expect("xen-3.0-x86_64" in info["xen_caps"].split(), f"xen_caps is {info['xen_caps']!r}")
    expect(info["xen_pagesize"] == "4096", f"xen_pagesize is {info['xen_pagesize']}")
    expect(info["release"] == host.run("uname -r").strip(), f"release is {info['release']}")
    expect("dom0_mem=" in info["xen_commandline"], f"xen_commandline is {info['xen_commandline']!r}")


@suite.check
def list_shows_domain_0(host):
    text = host.run("xl list")
    expect(re.match(r"Name\s+ID\s+Mem\s+VCPUs\s+State\s+Time\(s\)\n", text), f"heading: {text.splitlines()[0]!r}")
    row = host.state("Domain-0")
    expect(row["id"] == "0" and row["vcpus"] == "2" and row["state"][0] == "r", f"row: {row}")
    expect(float(row["time"]) > 0, "Domain 0 has used no CPU time")


@suite.check
def dmesg_shows_the_boot(host):
    text = host.run("xl dmesg")
    expect("(XEN)" in text and "dom0_mem=" in text, f"xl dmesg prints {text[:300]!r}")


@suite.check
def uptime_counts(host):
    text = host.run("xl uptime")
    expect(re.search(r"Domain-0\s+0\s+\d+:\d\d:\d\d", text), f"xl uptime prints {text!r}")


def write_plain(host) -> None:
    """A guest without devices: nothing in it takes time that the check is not about."""
    host.run("sed -e 's/demo2/plain/; /^vif/d' /etc/xen/demo2.cfg > /etc/xen/plain.cfg")


def need_plain(host) -> None:
    if host.status("xl domid plain")[0]:
        write_plain(host)
        host.start("/etc/xen/plain.cfg")


@suite.check
def create_with_console_shows_the_start(host):
    """-c attaches the console at once; the guest's first words must be there."""
    write_plain(host)
    host.run("timeout 150 xl create -c /etc/xen/plain.cfg < <(sleep 140) > /run/create-c 2>&1 & "
             "for i in $(seq 140); do grep -q 'guest is up' /run/create-c && break; sleep 1; done; kill %1; true", 200)
    text = host.run("cat /run/create-c")
    expect("guest is up: Linux" in text, f"the console showed {text[-800:]!r}")
    host.run("wait-guest plain")


@suite.check
def domid_and_domname_agree(host):
    need_plain(host)
    domid = host.run("xl domid plain").strip()
    expect(domid == host.state("plain")["id"], f"xl domid says {domid}")
    expect(host.run(f"xl domname {domid}").strip() == "plain", "xl domname gives another name")
    status, _ = host.status("xl domid no-such-guest")
    expect(status != 0, "xl domid of an unknown name succeeded")


@suite.check
def vcpu_list_shows_states_and_affinity(host):
    need_plain(host)
    text = host.run("xl vcpu-list")
    expect(re.match(r"Name\s+ID\s+VCPU\s+CPU\s+State\s+Time\(s\)\s+Affinity", text), f"heading: {text[:80]!r}")
    rows = [l.split() for l in text.splitlines()[1:]]
    expect([r[2] for r in rows if r[0] == "Domain-0"] == ["0", "1"], f"Domain 0's vCPUs: {rows}")
    [guest] = [r for r in rows if r[0] == "plain"]
    expect(re.fullmatch(r"[r-][b-]-", guest[4]) and float(guest[5]) > 0, f"plain's row: {guest}")
    expect(guest[6:] == ["all", "/", "all"], f"plain's affinity: {guest[6:]}")


@suite.check
def console_takes_what_is_typed(host):
    """On a terminal: `xl console` reads no keys from a pipe."""
    need_plain(host)
    host.run("(for i in $(seq 20); do sleep 2; grep -q sum=42 /run/typed && printf '\\035' && break; printf 'echo sum=$((40 + 2))\\r'; done) | "
             "timeout 60 script -q -f -c 'xl console plain' /run/typed > /dev/null; true", 90)
    text = host.run("cat /run/typed")
    expect("sum=42" in text, f"the console showed {text[-400:]!r}")


@suite.check
def pause_stops_and_unpause_goes_on(host):
    need_plain(host)
    host.run("xl pause plain")
    before = host.state("plain")
    expect("p" in before["state"], f"the state is {before['state']}")
    host.run("sleep 3")
    after = host.state("plain")
    expect(before["time"] == after["time"], f"paused, and still used CPU time: {before['time']} to {after['time']}")
    host.run("xl unpause plain")
    expect("p" not in host.state("plain")["state"], "the state is still paused")
    expect(host.guest("plain", "echo back").strip() == "back", "the guest does not answer after unpause")


@suite.check
def destroy_leaves_nothing(host):
    need_plain(host)
    domid = host.run("xl domid plain").strip()
    host.run("xl destroy plain")
    expect(host.status("xl domid plain")[0] != 0, "the name is still there")
    expect(f" {domid} " not in host.run("xl list"), "the domain is still listed")
    expect(host.status(f"xenstore-read /local/domain/{domid}/name")[0] != 0, "its xenstore tree is still there")


@suite.check
def create_paused_waits_for_unpause(host):
    write_plain(host)
    host.run("xl create -p /etc/xen/plain.cfg")
    row = host.state("plain")
    expect("p" in row["state"] and float(row["time"]) == 0, f"created with -p: {row}")
    host.run("xl unpause plain && wait-guest plain", 240)


@suite.check
def create_refuses_a_name_twice(host):
    need_plain(host)
    status, text = host.status("xl create /etc/xen/plain.cfg")
    expect(status != 0 and "already" in text, f"status {status}: {text.strip()[-300:]}")
    expect(host.guest("plain", "echo there").strip() == "there", "the first one has suffered")


@suite.check
def reboot_gives_a_new_domain(host):
    host.need_guest("demo")
    before = host.state("demo")["id"]
    host.run("xl reboot demo")
    host.until("demo has a new id", lambda: host.status("xl domid demo")[1].strip() not in ("", before)
               and host.status("xl domid demo")[0] == 0, 120)
    host.run("wait-guest demo 240", 300)
    expect(host.guest("demo", "cat /sys/hypervisor/type").strip() == "xen", "the guest does not answer")


@suite.check
def shutdown_ends_it_with_a_clean_disk(host):
    host.need_guest("demo")
    host.run("xl shutdown -w demo", 120)
    # Taken away by the xl that created it, which hears of it at the same time as this one.
    host.until("demo is taken away", lambda: host.status("xl domid demo")[0] != 0, 60)
    state = host.run("dumpe2fs -h /guests/demo/disk.img 2>/dev/null | grep 'Filesystem state'")
    expect(state.split()[-1] == "clean", f"the disk: {state.strip()}")
    host.run("e2fsck -f -n /guests/demo/disk.img", 120)


@suite.check
def guest_that_crashes_is_noticed(host):
    host.run("sed -e 's/demo2/crasher/; /^vif/d' /etc/xen/demo2.cfg > /run/crasher.cfg; "
             "echo 'on_crash = \"preserve\"' >> /run/crasher.cfg")
    host.start("/run/crasher.cfg")
    host.status("TIMEOUT=5 guest crasher 'echo c > /proc/sysrq-trigger'", 40)
    host.until("the guest is shown as crashed", lambda: "c" in host.state("crasher")["state"], 60)
    host.run("xl destroy crasher")
    expect("Domain-0" in host.run("xl list"), "the host has suffered")
