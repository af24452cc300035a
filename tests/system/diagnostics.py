"""Debian's diagnostic tools (xen-utils' folder bin) in the suite `tools`: what they print is so."""

import re

import obedient
from framework import expect
from lifecycle import fields, need_plain
from tools import BIN, CONTEXT_RIP, dump, domid, suite


def tool(host, command: str, seconds: float = 60) -> str:
    return host.run(f"{BIN}/{command}", seconds)


def channels(host, number: str) -> dict[str, str]:
    """Of lsevtchn: by port, what it is bound to."""
    return dict(re.findall(r"^ *(\d+): (.*)$", tool(host, f"lsevtchn {number}"), re.M))


@suite.check
def lsevtchn_shows_both_ends(host):
    """The guest's console: xenstore has its port; its peer in Domain 0 names it in turn. And each vCPU's timer."""
    need_plain(host)
    number = domid(host)
    port = host.run(f"xenstore-read /local/domain/{number}/console/port").strip()
    guest, dom0 = channels(host, number), channels(host, "0")
    m = re.fullmatch(r"VCPU 0: Interdomain \(Connected\) - Remote Domain 0, Port (\d+)", guest.get(port, ""))
    expect(m, f"the console's port {port}: {guest}")
    expect(dom0.get(m[1], "").endswith(f"Interdomain (Connected) - Remote Domain {number}, Port {port}"), f"Domain 0's end {m[1]}: {dom0}")
    expect({f"VCPU {n}: Virtual IRQ 0" for n in (0, 1)} <= set(dom0.values()), f"no timers: {dom0}")
    lines = host.run("grep -c xen-pirq /proc/interrupts").strip()
    expect(sum("Physical IRQ" in text for text in dom0.values()) == int(lines), f"Linux has {lines} interrupt lines: {dom0}")


@suite.check
def grant_tables_have_their_size(host):
    """xen-diag, against max_grant_frames= of the guest's file."""
    number = obedient.create(host, "granted", "max_grant_frames = 17\n")
    text = tool(host, f"xen-diag gnttab_query_size {number}")
    host.run("xl destroy granted")
    expect(text.strip() == f"domid={number}: nr_frames=1, max_nr_frames=17", f"xen-diag: {text!r}")


def compared(host, number: str, one: int, other: int) -> int:
    """What xen-mfndump says of two of the guest's frames, 0 if they are alike."""
    return int(re.search(r"= (-?\d+)", tool(host, f"xen-mfndump memcmp-mfns {number} {one:#x} {number} {other:#x}"))[1])


@suite.check
def xenctx_and_mfndump_show_a_guest(host):
    """Of a guest whose program is known, and whose dump says the same."""
    number = obedient.create(host, "shown")
    host.run("sleep 1; xl pause shown")
    text = tool(host, f"xenctx -a {number} 0")
    core = dump(host, "shown")
    frames = dict(core.p2m())
    alike = [compared(host, number, frames[obedient.FIRST_PAGE], frames[n]) for n in (obedient.FIRST_PAGE, 0)]
    host.run("xl destroy shown")
    expect(alike[0] == 0 and alike[1] != 0, f"xen-mfndump compares a frame with itself and with another: {alike}")
    value = {k: int(v, 16) for k, v in re.findall(r"\b(rip|rsp|cr3|cr0|cr4): ([0-9a-f]{16})", text)}
    context = core.section(".xen_prstatus")
    expect(value["rip"] == int.from_bytes(context[CONTEXT_RIP : CONTEXT_RIP + 8], "little"), f"the dump has another RIP: {text}")
    expect(value["rip"] >> 12 == 0xFFFFFFFF80100, f"RIP is outside of the program: {text}")
    expect(value["cr3"] >> 12 in frames.values(), f"CR3 is no frame of the guest's: {text}")
    expect(value["cr0"] & 0x80000001 == 0x80000001 and value["cr4"] & 0x20, f"CR0, CR4: {text}")
    m = re.search(r"\n((?:[0-9a-f]{2} )+)<([0-9a-f]{2})> ((?:[0-9a-f]{2} )+)", text)
    expect(m, f"no code is shown: {text}")
    code, at = bytes.fromhex(m[1]), value["rip"] & 0xFFF
    page = core.page(obedient.FIRST_PAGE)
    expect(page[max(0, at - len(code)) : at].endswith(code[-2:]) and code[-2:] == b"\x0f\x05", f"the code before RIP: {m[1]}")
    expect(page[at] == int(m[2], 16) and page[at + 1 :].startswith(bytes.fromhex(m[3])), f"the code at RIP: {m[2]} {m[3]}")


def idle_milliseconds(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"idle time\(ms\) +: (\d+)", text)]


@suite.check
def xenpm_counts_idle_time(host):
    """Against the clock: two idle CPUs sleep through most of an interval, and never for longer than it lasts."""
    cpus = host.session.machine.cpus
    first, t0 = tool(host, "xenpm get-cpuidle-states"), float(host.run("cat /proc/uptime").split()[0])
    host.run("sleep 5")
    last, t1 = tool(host, "xenpm get-cpuidle-states"), float(host.run("cat /proc/uptime").split()[0])
    slept = [b - a for a, b in zip(idle_milliseconds(first), idle_milliseconds(last))]
    expect(len(slept) == cpus, f"xenpm: {first}")
    expect(sum(slept) > 1500 and max(slept) <= (t1 - t0) * 1000 + 1500, f"in {t1 - t0:.1f} s they slept for {slept} ms")
    rows = [l.split() for l in tool(host, "xenpm get-cpu-topology").splitlines()[1:]]
    expect(rows == [[f"CPU{n}", str(n), "0", "0"] for n in range(cpus)], f"xenpm get-cpu-topology: {rows}")


@suite.check
def xenpm_keeps_settings(host):
    tool(host, "xenpm set-max-cstate 1")
    text = tool(host, "xenpm get-cpuidle-states 0")
    tool(host, "xenpm set-max-cstate unlimited")
    expect("Max possible C-state: C1" in text, f"xenpm: {text}")
    for wish in ("enable", "disable"):
        expect(f"{wish} sched_smt_power_savings succeeded" in tool(host, f"xenpm set-sched-smt {wish}"), wish)
    text = tool(host, "xenpm start 2")
    elapsed = int(re.search(r"Elapsed time \(ms\): (\d+)", text)[1])
    shares = [[float(p) for p in re.findall(r"C\d\s+\d+\s+\( *([\d.]+)%\)", part)] for part in text.split("CPU")[1:3]]
    expect(1900 <= elapsed < 6000 and all(98 <= sum(s) <= 102 for s in shares), f"xenpm start: {text}")
    status, text = host.status(f"{BIN}/xenpm set-scaling-governor performance 2>&1")
    expect("Invalid argument" in text, f"a CPU without frequencies has a governor: {status} {text}")


@suite.check
def cpuid_policies_are_those_of_the_cpu(host):
    """xen-cpuid's sets against Linux's flags in Domain 0: by bits that every emulated or real CPU here has."""
    flags = set(re.search(r"^flags\s*: (.*)", host.run("cat /proc/cpuinfo"), re.M)[1].split())
    text = tool(host, "xen-cpuid detail")
    dynamic = text[text.index("Dynamic sets"):]
    for name in ("Raw", "Host", "PV Default"):
        part = dynamic[dynamic.index(f"\n{name} ") :]
        words = set(part[: part.index("0x80000001.edx")].split())
        for flag, word in {"fpu": "fpu", "sse2": "sse2", "cx16": "cx16", "aes": "aesni", "avx": "avx", "popcnt": "popcnt"}.items():
            expect((flag in flags) == (word in words), f"{name}: Linux has {flag}: {flag in flags}, xen-cpuid {word}: {word in words}")
    policy = tool(host, "xen-cpuid -p")
    part = policy[policy.index("PV Default policy") :]
    _, b, c, d = re.search(r"00000000:\S+ -> (\w{8}):(\w{8}):(\w{8}):(\w{8})", part).groups()
    vendor = b"".join(bytes.fromhex(r)[::-1] for r in (b, d, c)).decode()
    expect(f"vendor_id\t: {vendor}" in host.run("cat /proc/cpuinfo"), f"the policy's vendor is {vendor}")


@suite.check
def pages_and_patches_are_listed(host):
    expect("[ PAGE_ONLINED ]" in tool(host, "xen-hptool mem-status 0x10000"), "xen-hptool mem-status")
    expect("Nothing to list" in tool(host, "xen-livepatch list"), "xen-livepatch list")


@suite.check
def hypfs_tells_the_version(host):
    info = fields(host.run("xl info"))
    told = [host.run(f"xenhypfs cat /buildinfo/version/{part}").strip() for part in ("major", "minor", "extra")]
    expect(told == [info["xen_major"], info["xen_minor"], info["xen_extra"]], f"xenhypfs says {told}")
    expect("buildinfo" in host.run("xenhypfs ls /"), "xenhypfs ls")


@suite.check
def what_is_not_built_in_is_refused(host):
    """Tools for parts that Debian's Xen is built without, and those for HVM guests, say so and do not wait."""
    need_plain(host)
    number = domid(host)
    refusals = {"xenperf": "Function not implemented", "xenlockprof": "Function not implemented", "xencov read": "",
                "flask-getenforce": "", f"xen-hvmctx {number}": "", f"xen-hvmcrash {number}": "not HVM",
                f"xenpaging -d {number} -f /run/paging": "", f"xen-vmtrace {number} 0": ""}
    for command, words in refusals.items():
        status, text = host.status(f"timeout 20 {BIN}/{command} 2>&1")
        expect(status not in (0, 124, 143) and words in text, f"`{command}`: status {status}, {text.strip()[-300:]!r}")
    expect(host.guest("plain", "echo there").strip() == "there", "the guest has suffered")


@suite.check
def xens_own_tests_pass(host):
    """Those that come with its tools: grant tables as resources, the policies of CPUs."""
    for name in ("test-resource", "test-cpu-policy"):
        text = tool(host, name)
        expect("Fail" not in text and "Test" in text, f"{name}: {text}")


@suite.check
def watchdog_of_domain_0_is_fed(host):
    """xenwatchdogd arms it and feeds it for longer than it lasts; told to stop, it disarms it."""
    host.run(f"{BIN}/xenwatchdogd 4 1; sleep 6; kill -USR1 $(pidof xenwatchdogd); sleep 5; ! pidof xenwatchdogd")
