"""The last steps of the story in host.py: the package is taken away, the ordinary kernel, the end."""

from framework import expect
from host import check, name, need_package, reboot_without, sound, under_a_hypervisor

# What the test itself, dpkg's and apt's own books, and logs keep.
NOT_OURS = "/root /mnt /guests /var/log /var/lib/dpkg /var/lib/apt /var/cache /tmp /run".split()


@check
def purge_leaves_no_trace(host):
    need_package(host)
    if under_a_hypervisor(host):
        reboot_without(host)
    host.run(f"rm -f /etc/default/grub.d/zz-stock.cfg; DEBIAN_FRONTEND=noninteractive apt-get purge -y {name(host)}", 600)
    if not host.hypervisor.is_xenolith:  # Debian's leave a menu whose default is Xen's entry, until it is next made
        host.run("update-grub", 300)
    # Which number the kernel gives a disk is another in each boot; the menu has them as hints beside the file system's UUID.
    for menu in ("/root/grub.cfg.before", "/boot/grub/grub.cfg"):
        host.run(f"sed 's/\\(hd\\|ahci\\)[0-9]*,/\\1,/g' {menu} > /root/$(basename {menu}).compare")
    host.run("diff /root/grub.cfg.before.compare /root/grub.cfg.compare")
    host.run("ls -R /boot /etc/default | diff /root/files.before -")
    if host.hypervisor.is_xenolith:
        left_out = " ".join(f"-path {p} -prune -o" for p in NOT_OURS)
        found = host.run(f"find / -xdev {left_out} -name '*xenolith*' -print").strip()
        expect(not found, f"left behind: {found}")
        expect("xenolith" not in host.run("grub-editenv list; cat /boot/grub/grub.cfg"), "GRUB still names it")


@check
def boots_as_before(host):
    reboot_without(host)
    sound(host)


@check
def powers_off(host):
    host.status("(sleep 1; systemctl poweroff) > /dev/null 2>&1 &")
    expect(host.session.wait_end(600), "the machine does not switch itself off" + host.session.tail())
