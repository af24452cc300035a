"""Steps of the story in host.py: guests on a volume and on qcow2, by xl, by the host's shutdown, and by libvirt."""

from framework import expect
from host import check, need_hypervisor, reboot_without

VOLUMES = "/dev/guests"
SHARED = '''kernel = "/guests/demo/vmlinux"
ramdisk = "/guests/demo/initrd.img"
cmdline = "console=hvc0 root=/dev/xvda loglevel=4"
memory = 160
vcpus = 1'''
UP = 400  # seconds


def need_volumes(host) -> None:
    """A volume group on the empty disk, with a guest's disk on each of two volumes, and one as qcow2."""
    need_hypervisor(host)
    if host.status(f"test -b {VOLUMES}/one")[0]:
        host.run("vgcreate -q guests $(lsblk -dnpo NAME,SIZE | awk '$2 == \"3G\" { print $1 }')", 120)
        for volume in ("one", "three"):
            host.run(f"lvcreate -q -n {volume} -L 512M guests && dd if=/guests/demo/disk.img of={VOLUMES}/{volume} bs=1M conv=sparse && sync", 300)
        host.run("qemu-img convert -O qcow2 /guests/demo/disk.img /srv/two.qcow2", 300)


def need_guest(host, name: str) -> None:
    need_volumes(host)
    if host.status(f"xl domid {name}")[0] == 0:
        return
    disk = {"one": f"phy:{VOLUMES}/one,xvda,w", "two": "format=qcow2,vdev=xvda,access=rw,target=/srv/two.qcow2"}[name]
    mac = {"one": "01", "two": "02"}[name]
    host.write(f"/etc/xen/{name}.cfg", f'name = "{name}"\ntype = "pv"\n{SHARED}\ndisk = [ "{disk}" ]\n'
               f'vif = [ "mac=00:16:3e:00:00:{mac},bridge=xenbr0" ]')
    host.run(f"xl create /etc/xen/{name}.cfg && wait-guest {name} {UP}", UP + 120)


def answers(host, name: str) -> None:
    """It has its disk, and an address on the bridge that the host reaches."""
    expect("/dev/xvda" in host.guest(name, "df /"), f"{name} does not run on its disk")
    address = host.run(f"xenstore-read /local/domain/$(xl domid {name})/data/ip").strip()
    host.run(f"ping -c 2 -W 10 {address}")


@check
def daemons_are_debians_units(host):
    need_hypervisor(host)
    # libvirtd itself ends when nobody asks; its unit and that of xendomains exclude each other.
    for unit in ("xen", "libvirtd.socket"):
        host.run(f"systemctl is-active {unit}")
    expect("xenstored" in host.run("systemctl status xen --no-pager"), "xenstored does not run in the unit xen")
    host.run("pgrep -x xenconsoled")


@check
def guest_from_a_volume(host):
    need_guest(host, "one")
    answers(host, "one")


@check
def guest_from_qcow2_on_the_bridge(host):
    need_guest(host, "two")
    answers(host, "two")
    host.run("bridge link show | grep -q xenbr0 && ls /sys/class/net/xenbr0/brif | grep vif")


@check
def libvirt_installs_and_lists(host):
    need_volumes(host)
    # Each CPU that libvirt knows has virtual-8086 extensions, which QEMU's TCG does not.
    host.run("sed -i \"/<feature name='vme'\\/>/d\" /usr/share/libvirt/cpu_map/x86_*.xml; systemctl restart libvirtd", 240)
    virsh = "virsh -c xen:///system"
    expect("Domain-0" in host.run(f"{virsh} list", 180), "virsh does not list Domain-0")
    host.run("virt-install --connect xen:///system --paravirt --import --name three --memory 160 --vcpus 1 --osinfo detect=off,require=off "
             f"--disk path={VOLUMES}/three,format=raw,bus=xen --network bridge=xenbr0,mac=00:16:3e:00:00:03 --graphics none --noautoconsole "
             "--boot \"kernel=/guests/demo/vmlinux,initrd=/guests/demo/initrd.img,kernel_args=console=hvc0 root=/dev/xvda loglevel=4\"", 600)
    host.run(f"wait-guest three {UP}", UP + 60)
    answers(host, "three")
    expect("running" in host.run(f"{virsh} domstate three"), "virsh does not see it run")
    xml = host.run(f"{virsh} dumpxml three")
    expect("<domain type='xen'" in xml and "/dev/guests/three" in xml and "xenbr0" in xml, f"dumpxml: {xml}")
    host.run(f"{virsh} shutdown three")
    host.until("three is shut off", lambda: "shut off" in host.status(f"{virsh} domstate three")[1], 240)
    host.run(f"{virsh} undefine three")


@check
def xendomains_shuts_guests_down_with_the_host(host):
    """Debian's setting is to save them, which is not what is asked here."""
    for name in ("one", "two"):
        need_guest(host, name)
    host.run("systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd; systemctl start xendomains", 240)
    host.run("systemctl is-active xendomains")
    host.run("sed -i 's/^XENDOMAINS_SAVE=.*/XENDOMAINS_SAVE=/' /etc/default/xendomains")
    host.guest("one", "echo kept > /root/kept; sync")
    reboot_without(host)
    host.run(f"vgchange -qay guests; e2fsck -fn {VOLUMES}/one", 240)
    expect("needs_recovery" not in host.run(f"dumpe2fs -h {VOLUMES}/one 2>/dev/null"), "one was not shut down, but ended")
    expect(host.run(f"debugfs -R 'cat /root/kept' {VOLUMES}/one 2>/dev/null").strip() == "kept", "what one wrote is not there")
    host.run("qemu-img check /srv/two.qcow2")
