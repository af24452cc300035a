"""The first steps of the story in host.py: what the package refuses, what it changes, and the boot by GRUB's menu."""

import re

from framework import expect
from host import check, need_hypervisor, need_package, payload, sound, under_a_hypervisor, xenolith_only

# What is wrong, how it is brought about, how it is mended, and what the package has to say.
BROKEN = [
    ("another release", "sed -i.kept 's/^VERSION_ID=.*/VERSION_ID=\"13\"/' /usr/lib/os-release",
     "mv /usr/lib/os-release.kept /usr/lib/os-release", "not Debian 12"),
    ("a full /boot", "cp /boot/grub/grub.cfg /run/; mount -t tmpfs -o size=1M full /boot; mkdir /boot/grub; cp /run/grub.cfg /boot/grub/",
     "umount /boot", "KiB are needed"),
    ("broken settings", "echo 'if true' > /etc/default/grub.d/zz-broken.cfg", "rm /etc/default/grub.d/zz-broken.cfg", "settings give no menu"),
    ("a broken menu", "cp /boot/grub/grub.cfg /run/; echo 'if true; then' >> /boot/grub/grub.cfg", "cat /run/grub.cfg > /boot/grub/grub.cfg",
     "grub.cfg is damaged"),
]
INSTALL = "dpkg --install --force-confnew /mnt/xenolith-hypervisor_*.deb"


@check
def ordinary_system_is_sound(host):
    expect(not under_a_hypervisor(host), "a hypervisor runs already")
    sound(host)


@check
@xenolith_only
def package_refuses_and_changes_nothing(host):
    payload(host)
    for what, breaks, mends, says in BROKEN:
        host.run(breaks)
        before = host.run("sha256sum /boot/grub/grub.cfg")
        status, text = host.status(INSTALL, 300)
        after, there = host.run("sha256sum /boot/grub/grub.cfg"), host.run("ls /boot /usr/sbin; ls -d /etc/default/grub.d/xen* 2>&1; true")
        host.run(mends)
        expect(status != 0, f"{what}: installed all the same: {text}")
        expect(says in text and "Nothing was changed" in text, f"{what}: it says {text}")
        expect(before == after, f"{what}: the menu has changed")
        expect("xenolith" not in there, f"{what}: files are left: {there}")


@check
@xenolith_only
def package_puts_the_menu_back(host):
    """A fault that shows only with Xenolith's entries in the menu."""
    payload(host)
    host.run("update-grub; cp /boot/grub/grub.cfg /root/grub.cfg.good")
    host.run("printf '#!/bin/sh\\n! ls /boot/xenolith-* > /dev/null 2>&1 || echo \"menuentry {\"\\n' > /etc/grub.d/99_bad; chmod +x /etc/grub.d/99_bad")
    before = host.run("sha256sum /boot/grub/grub.cfg")
    status, text = host.status(INSTALL, 300)
    after = host.run("rm /etc/grub.d/99_bad; sha256sum /boot/grub/grub.cfg")
    expect(status != 0 and "The old one is back" in text, f"status {status}: {text}")
    expect(before == after, "the menu has changed")
    host.run("dpkg --purge xenolith-hypervisor", 300)
    changed = host.status("diff /root/grub.cfg.good /boot/grub/grub.cfg")[1]
    expect(not changed, f"the purge has changed the menu: {changed}")


@check
def package_is_installed_and_tells(host):
    need_package(host)
    expect(host.status("dpkg --audit")[1].strip() == "", "dpkg --audit has something to say")
    menu = host.run("cat /boot/grub/grub.cfg")
    if host.hypervisor.is_xenolith:
        before = host.run("cat /root/grub.cfg.before")
        default = re.compile(r'^\s*set default=.*$', re.M)
        expect(default.findall(menu) == default.findall(before), "what boots by default has changed")
        expect("xenolith-0.1.gz" in menu, "the menu has no entry")
        status, text = host.status("xenolith-check")
        expect(status in (0, 1), f"xenolith-check ends with {status}: {text}")
    else:
        expect("xen-4.17-amd64.gz" in menu, "the menu has no entry")


@check
@xenolith_only
def package_upgrades(host):
    """To a version that is made of this one; and an upgrade that is refused leaves what was there."""
    need_package(host)
    version = "dpkg-query -W -f '${Version} ${db:Status-Status}' xenolith-hypervisor"
    before = host.run(version)
    host.run("rm -rf /root/new; dpkg-deb -R /mnt/xenolith-hypervisor_*.deb /root/new; sed -i 's/^Version: .*/&.1/' /root/new/DEBIAN/control; "
             "echo >> /root/new/boot/xenolith-0.1.gz; dpkg-deb -Znone --build /root/new /root/new.deb; cp /boot/grub/grub.cfg /root/grub.cfg.old")
    _, breaks, mends, says = BROKEN[2]
    host.run(breaks)
    status, text = host.status("dpkg --install /root/new.deb", 300)
    host.run(mends)
    expect(status != 0 and says in text, f"with broken settings: status {status}: {text}")
    expect(host.run(version) == before, f"a refused upgrade leaves {host.run(version)}")
    host.run("dpkg --install /root/new.deb", 300)
    expect(host.run(version) == before.replace(" ", ".1 "), f"the upgrade leaves {host.run(version)}")
    host.run("diff /root/grub.cfg.old /boot/grub/grub.cfg && cmp /root/new/boot/xenolith-0.1.gz /boot/xenolith-0.1.gz && [ $(ls /boot/xenolith-*.gz | wc -l) = 1 ]")
    expect(host.status("dpkg --audit")[1].strip() == "", "dpkg --audit has something to say")


@check
def grub_boots_it_and_systemd_is_content(host):
    need_hypervisor(host)
    sound(host)
    expect("Domain-0" in host.run("xl list"), "xl list does not show Domain-0")
    if host.hypervisor.is_xenolith:
        expect("xenolith" in host.run("xl info | grep xen_extra"), "another hypervisor runs")
    line = host.run("xl info xen_commandline; xl info | grep xen_commandline")
    expect("dom0_mem=1280M" in line, f"GRUB_CMDLINE_XEN is not in the boot line: {line}")
    expect("console=hvc0" in host.run("cat /proc/cmdline"), "GRUB_CMDLINE_LINUX_XEN_REPLACE is not in the kernel's line")
    memory = int(host.run("awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo"))
    expect(1000 < memory <= 1280, f"Domain 0 has {memory} MiB")
