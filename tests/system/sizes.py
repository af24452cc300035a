"""The smallest and a larger machine; the small one with page-table isolation, which its CPU would not ask for."""

import lifecycle
from framework import Suite, expect

small = Suite("small", cpus=1, memory=768, cmdline="xpti=true", kernel_args="xenolith.nodemo")
# Four CPUs at the same time, however slow that is on a host of two.
large = Suite("large", cpus=4, memory=4096, one_thread=False, kernel_args="xenolith.nodemo")


def machine_is_all_there(host):
    machine = host.session.machine
    info = lifecycle.fields(host.run("xl info"))
    expect(info["nr_cpus"] == str(machine.cpus), f"xl info says {info['nr_cpus']} CPUs")
    expect(0.9 * machine.memory < int(info["total_memory"]) <= machine.memory, f"total_memory {info['total_memory']}")
    expect(host.run("nproc").strip() == str(machine.cpus), f"Domain 0 has not {machine.cpus} CPUs")


def guest_comes_and_goes(host):
    lifecycle.write_plain(host)
    host.run(f"echo 'vcpus = {host.session.machine.cpus}' >> /etc/xen/plain.cfg")
    host.start("/etc/xen/plain.cfg")
    expect(host.guest("plain", "nproc").strip() == str(host.session.machine.cpus), "not all vCPUs are online")
    host.run("xl destroy plain")
    expect(host.status("xl domid plain")[0] != 0, "the name is still there")


@small.check
def isolation_is_on(host):
    words = "page-table isolation: Domain 0 on, other domains on" if host.hypervisor.is_xenolith else "Dom0 enabled, DomU enabled"
    expect(words in host.run("xl dmesg"), "xl dmesg does not say that page tables are isolated")


for suite in (small, large):
    suite.check(machine_is_all_there)
    suite.check(guest_comes_and_goes)
