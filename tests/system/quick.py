"""The one boot of `./xenolith test --quick`: Domain 0 and one guest are alive and well."""

import lifecycle
from framework import Suite, expect

# The only machine then, so its CPUs may work at the same time.
suite = Suite("quick", one_thread=False)


@suite.check
def domain_0_answers(host):
    expect("Domain-0" in host.run("xl list"), "xl list does not show Domain-0")


suite.check(lifecycle.info_names_the_hypervisor)


@suite.check
def demo_runs_with_disk_and_network(host):
    host.run("wait-guest demo 120", 150)
    expect(host.guest("demo", "cat /sys/hypervisor/type").strip() == "xen", "the guest does not see Xen")
    host.run(f"ping -c 1 -W 5 {host.ip('demo')}")
