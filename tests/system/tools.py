"""xl's commands that look at guests and at the host, each compared with a second source."""

import json
import re
import struct

import obedient
from core_file import FORMAT_VERSION, NONE, PAGE, PV_MAGIC, XEN_VERSION, Core
from framework import Suite, expect
from lifecycle import fields, need_plain

DUMP_MIB = 16


def _prepare(folder, _hypervisor):
    """A guest's dump leaves the machine on a disk: here it is read with more than the tools' own eyes."""
    with open(folder / "dump.img", "wb") as f:
        f.truncate(DUMP_MIB << 20)
    return {"disks": [folder / "dump.img"], "initrd": obedient.into_dom0(folder, ("xenhypfs",))}


suite = Suite("tools", kernel_args="xenolith.nodemo", prepare=_prepare)
# vcpu_guest_context (arch-x86/xen.h): the size, and where RIP is.
CONTEXT_SIZE, CONTEXT_RIP = 5168, 512 + 8 + 16 * 8
BIN = "/usr/lib/xen-4.17/bin"


def domid(host, name: str = "plain") -> str:
    return host.run(f"xl domid {name}").strip()


@suite.check
def info_shows_nodes_and_cpus(host):
    text = host.run("xl info -n")
    cpus = re.findall(r"^ *(\d+): +(\d+) +(\d+) +(\d+)$", text[: text.index("device topology")], re.M)
    expect(cpus == [(str(n), str(n), "0", "0") for n in range(host.session.machine.cpus)],
           f"QEMU has one socket of {host.session.machine.cpus} cores: {cpus}")
    info = fields(text)
    [(node, size, free, distance)] = re.findall(r"^ *(\d+): +(\d+) +(\d+) +(\d+)$", text[text.index("numa_info"):], re.M)
    expect((node, distance, size) == ("0", "10", info["total_memory"]), f"node {node}: {size} MiB, distance {distance}")
    expect(abs(int(free) - int(info["free_memory"])) <= 1, f"{free} MiB free on the node, free_memory {info['free_memory']}")
    expect(info["nr_nodes"] == "1" and info["cores_per_socket"] == str(host.session.machine.cpus), f"{info}")


@suite.check
def lists_are_complete(host):
    need_plain(host)
    guest = next(d for d in json.loads(host.run("xl list -l")) if d["config"]["c_info"]["name"] == "plain")
    expect(guest["domid"] == int(domid(host)), f"xl list -l: {guest}")
    build = guest["config"]["b_info"]
    expect((build["max_memkb"], build["target_memkb"], build["max_vcpus"]) == (128 << 10, 128 << 10, 1), f"xl list -l: {build}")
    [row] = [l.split() for l in host.run("xl list -v").splitlines() if l.startswith("plain ")]
    vm = host.run(f"xenstore-read /local/domain/{row[1]}/vm").strip()
    expect(vm == f"/vm/{row[6]}" and row[6] == guest["config"]["c_info"]["uuid"], f"xl list -v: {row}, xenstore: {vm}")
    expect([l.split()[-1] for l in host.run("xl claims").splitlines()[1:]] == ["0", "0"], "claims are left over")


@suite.check
def top_measures(host):
    """A guest that spins for the whole of an interval, against `xl list`."""
    need_plain(host)
    host.guest("plain", "timeout 40 sh -c 'while :; do :; done' >/dev/null 2>&1 & echo started")
    before = float(host.state("plain")["time"])
    rows = [l.split() for l in host.run(f"{BIN}/xentop -b -i 2 -d 4").splitlines()]
    after = float(host.state("plain")["time"])
    first, last = [r for r in rows if r[0] == "plain"]
    expect(last[4:6] == [str(128 << 10), "6.3"] and last[8] == "1", f"memory and vCPUs: {last}")
    expect(before - 1 <= int(first[2]) <= int(last[2]) <= after, f"seconds: {before}, {first[2]}, {last[2]}, {after}")
    expect(40 < float(last[3]) <= 110, f"a spinning guest uses {last[3]}% of a CPU")


@suite.check
def top_takes_keys(host):
    """On a terminal; `q` ends it."""
    host.run("(sleep 3; printf q) | timeout 30 script -q -f -c 'xl top' /run/top >/dev/null")
    text = host.run("cat /run/top")
    expect("Domain-0" in text and "xentop" in text, f"xl top shows {text[-500:]!r}")


@suite.check
def dmesg_is_cleared(host):
    first = host.run("xl debug-keys h; xl dmesg -c")
    expect("(XEN)" in first and "dom0_mem=" in first, f"the log since the boot: {first[-500:]!r}")
    expect(not host.run("xl dmesg").strip(), "xl dmesg -c has left something")
    again = host.run("xl debug-keys h; xl dmesg")
    expect("(XEN)" in again and "dom0_mem=" not in again, f"the log since then: {again[-500:]!r}")


def key_reports(host, keys: str) -> dict[str, str]:
    text = host.run(f"xl dmesg -c >/dev/null; for k in {' '.join(keys)}; do echo @@$k; xl debug-keys $k; xl dmesg -c; done", 120)
    return {part[0]: part[1:] for part in text.split("@@")[1:]}


@suite.check
def debug_keys_report(host):
    """Each key that both hypervisors have: what it says of Domain 0 or of the guest is so."""
    need_plain(host)
    number = domid(host)
    host.guest("plain", "timeout 30 sh -c 'while :; do :; done' >/dev/null 2>&1 & echo started")  # `r` is about who runs
    said = key_reports(host, "rqegmish")
    words = {"h": ["key 'q'.*domain"], "q": [str(int(host.state("Domain-0")["mem"]) * 256), str(128 * 256)],
             "e": [rf"d{number}\b|domain {number}\b"], "g": [rf"\bd{number}\b"], "r": [rf"\bd{number}v0\b|\b{number}\.0\b"],
             "m": [r"\d+"], "i": [r"\bd0\b|domain-list=0"], "s": ["TSC"]}
    for key, patterns in words.items():
        expect(all(re.search(p, said[key]) for p in patterns), f"key {key} says nothing of {patterns}: {said[key]}")


@suite.check
def sysrq_reaches_the_guest(host):
    need_plain(host)
    host.run("xl sysrq plain h")
    host.until("the guest's kernel answers", lambda: "sysrq: HELP" in host.guest("plain", "dmesg | tail -n 5"), 30)


@suite.check
def trigger_nmi_reaches_the_guest(host):
    need_plain(host)
    host.run("xl trigger plain nmi")
    host.until("the guest counts an NMI", lambda: any(int(n) for n in host.guest(
        "plain", "awk '/^ *NMI:/ { print $2 }' /proc/interrupts; dmesg | grep -c 'NMI received' || true").split()), 20)


@suite.check
def rename_is_seen_everywhere(host):
    need_plain(host)
    number = domid(host)
    host.run("xl rename plain other")
    try:
        expect(host.status("xl domid plain")[0] != 0 and domid(host, "other") == number, "xl does not know the new name")
        names = host.run(f"xenstore-read /local/domain/{number}/name; xl domname {number}").split()
        expect(names == ["other", "other"], f"xenstore and xl domname say {names}")
        expect(host.status("xl rename Domain-0 other")[0] != 0, "a name is given twice")
    finally:
        host.run("xl rename other plain")


@suite.check
def config_update_holds_from_the_next_start(host):
    number = obedient.create(host, "changing")
    host.run(f"sed 's/^memory.*/memory = {obedient.MEMORY + 4}/' /run/changing.cfg > /run/changed.cfg; "
             "xl config-update changing /run/changed.cfg")
    expect(host.state("changing")["mem"] == str(obedient.MEMORY), "the running guest has it already")
    obedient.tell(host, number, obedient.REBOOT)
    host.until("it is a new domain", lambda: obedient.domid(host, "changing") not in ("", number), 60)
    memory = host.state("changing")["mem"]
    host.run("xl destroy changing")
    expect(memory == str(obedient.MEMORY + 4), f"started anew with {memory} MiB")


def dump(host, name: str) -> Core:
    """The guest's core, by way of the disk."""
    device = host.run(f"for d in /sys/block/sd*; do [ $(cat $d/size) = {DUMP_MIB << 11} ] && echo /dev/${{d##*/}}; done; true").strip()
    host.run(f"xl dump-core {name} /run/core && dd if=/run/core of={device} bs=1M conv=fsync 2>/dev/null; rm /run/core", 180)
    return Core(host.session.machine.disks[0])


@suite.check
def dump_core_holds_the_guest(host):
    """The notes, the program at its place, its table of frames, and the registers of a vCPU that waits."""
    obedient.create(host, "small")
    core = dump(host, "small")
    host.run("xl destroy small")
    pages = obedient.MEMORY * 256
    notes = core.notes()
    expect(notes[NONE] == b"" and core.header() == (PV_MAGIC, 1, pages, PAGE), f"header: {core.header()}")
    expect(notes[FORMAT_VERSION] == struct.pack("<Q", 1), f"format: {notes[FORMAT_VERSION]}")
    info = fields(host.run("xl info"))
    expect(struct.unpack_from("<QQ", notes[XEN_VERSION]) == (int(info["xen_major"]), int(info["xen_minor"])) and
           info["xen_extra"].encode() in notes[XEN_VERSION], f"version: {notes[XEN_VERSION][:48]}")
    frames = core.p2m()
    expect([p for p, _ in frames] == list(range(pages)), "the guest's frames are not all there, in their order")
    expect(len({m for _, m in frames}) == pages, "two frames of the guest are one of the machine")
    elf = host.session.machine.disks[0].with_name("obedient").read_bytes()
    at, _, _, size = struct.unpack_from("<QQQQ", elf, 64 + 8)  # the first program header, behind the ELF header
    expect(core.page(obedient.FIRST_PAGE)[:size] == elf[at : at + size], "the program is not at its place")
    context = core.section(".xen_prstatus")
    rip, = struct.unpack_from("<Q", context, CONTEXT_RIP)
    expect(len(context) == CONTEXT_SIZE and 0 <= rip - 0xFFFFFFFF80100000 < size, f"the vCPU is at {rip:#x}")
    expect(len(core.section(".xen_shared_info")) == PAGE, "the shared page is not there")
