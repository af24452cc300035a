"""xenolith-check, against made-up machines."""

import contextlib
import io
import json
import re
import shutil
import struct
import tempfile
import unittest
from argparse import Namespace
from pathlib import Path

from xenolith_host import check, facts, rules

ROOT = Path(__file__).resolve().parents[2]
FLAGS = "fpu lm nx smep smap x2apic svm constant_tsc nonstop_tsc"
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def vmlinuz(payload: bytes) -> bytes:
    """A bzImage of four sectors of set-up code."""
    image = bytearray(5 * 512) + payload
    image[0x1F1] = 4
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", image, 0x248, 0, len(payload))
    return bytes(image)


class Made(unittest.TestCase):
    """A machine on which nothing stands in Xenolith's way; tests change one thing each."""

    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.cpus(4)
        self.write("proc/meminfo", "MemTotal:       16384000 kB\n")
        for table in ("APIC", "FACP", "HPET"):
            self.write(f"sys/firmware/acpi/tables/{table}", "x")
        self.pci_device("0000:00:1f.2", "ahci", "ata1/host0/block/sda", "sys/block/sda")
        self.write("sys/block/sda/size", "1953525168\n")
        self.write("sys/devices/virtual/block/loop0/size", "0\n")
        (self.root / "sys/block/loop0").symlink_to("../devices/virtual/block/loop0")
        self.pci_device("0000:00:19.0", "e1000e", "net/eno1", "sys/class/net/eno1")
        self.kernel("6.1.0-56-amd64", "CONFIG_XEN=y\nCONFIG_XEN_PV_DOM0=y\n", b"\xfd7zXZ\0..")
        self.write("boot/grub/grub.cfg", "menu")
        self.write("etc/os-release", 'PRETTY_NAME="Debian"\nVERSION_ID="12"\nID=debian\n')
        self.write("usr/lib/xen-4.17/bin/xl", "")

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def cpus(self, count, flags=FLAGS):
        self.write("proc/cpuinfo", "".join(f"processor\t: {n}\nmodel name\t: Made Up 9000\nflags\t\t: {flags}\n\n" for n in range(count)))

    def pci_device(self, address, driver, below, link):
        """A device below a PCI one, and the link by which its class names it."""
        place = f"sys/devices/pci0000:00/{address}"
        self.write(f"{place}/{below}/uevent", "")
        device = self.root / place / below / "device"
        if not device.is_symlink():
            device.symlink_to("../..")
        (self.root / f"sys/bus/pci/drivers/{driver}").mkdir(parents=True, exist_ok=True)
        (self.root / place / "driver").symlink_to(self.root / f"sys/bus/pci/drivers/{driver}")
        (self.root / link).parent.mkdir(parents=True, exist_ok=True)
        (self.root / link).symlink_to(self.root / place / below)

    def kernel(self, version, config, payload):
        self.write(f"boot/vmlinuz-{version}", vmlinuz(payload))
        if config is not None:
            self.write(f"boot/config-{version}", config)

    def findings(self):
        return rules.findings(facts.read(self.root))

    def expect(self, status, level, pattern):
        """The verdict, and a finding of that level that says it."""
        found = self.findings()
        self.assertEqual(rules.status(found), status, [x for x in found if x.level in (rules.RESTRICTION, rules.OBSTACLE)])
        self.assertTrue([x for x in found if x.level == level and re.search(pattern, x.text)], f"no {level} {pattern!r}: {found}")


class Machines(Made):
    def test_a_good_machine_is_fine(self):
        self.expect(0, rules.GOOD, "4 CPUs: Made Up 9000")
        self.expect(0, rules.GOOD, r"sda \(931 GiB\) by ahci")
        self.expect(0, rules.GOOD, "eno1 by e1000e")
        self.expect(0, rules.GOOD, "6.1.0-56-amd64 can be Domain 0")
        self.assertFalse([x for x in self.findings() if "loop0" in x.text])

    def test_cpu_without_long_mode_or_nx(self):
        for flag in ("lm", "nx"):
            with self.subTest(flag):
                self.cpus(1, " ".join(f for f in FLAGS.split() if f != flag))
                self.expect(2, rules.OBSTACLE, "the CPU has no")

    def test_cpu_features_that_are_missed(self):
        self.cpus(4, "lm nx constant_tsc nonstop_tsc")
        self.expect(0, rules.NOTE, "no SMEP, SMAP, x2APIC")
        self.cpus(4, "lm nx")
        self.expect(1, rules.RESTRICTION, "no invariant TSC")

    def test_more_cpus_than_are_used(self):
        self.cpus(rules.MAX_CPUS)
        self.assertEqual(rules.status(self.findings()), 0)
        self.cpus(rules.MAX_CPUS + 1)
        self.expect(1, rules.RESTRICTION, "65 CPUs: 64 will be used")

    def test_hardware_virtualisation_is_told(self):
        self.expect(0, rules.NOTE, "AMD's SVM is there, and not used")
        self.cpus(1, FLAGS.replace("svm", "vmx"))
        self.expect(0, rules.NOTE, "Intel's VMX")

    def test_secure_boot(self):
        self.write("sys/firmware/efi/fw_platform_size", "64\n")
        self.write(SECURE_BOOT, b"\6\0\0\0\0")
        self.expect(0, rules.GOOD, "^UEFI")
        self.write(SECURE_BOOT, b"\6\0\0\0\1")
        self.expect(2, rules.OBSTACLE, "Secure Boot is on")

    def test_uefi_of_32_bits(self):
        self.write("sys/firmware/efi/fw_platform_size", "32\n")
        self.expect(2, rules.OBSTACLE, "UEFI of 32 bits")

    def test_acpi_without_its_cpus(self):
        (self.root / "sys/firmware/acpi/tables/APIC").unlink()
        self.expect(2, rules.OBSTACLE, "no MADT")

    def test_memory(self):
        for kib, status in ((500000, 2), (1500000, 1), (4000000, 0)):
            with self.subTest(kib):
                self.write("proc/meminfo", f"MemTotal: {kib} kB\n")
                self.assertEqual(rules.status(self.findings()), status)

    def test_iommu(self):
        self.expect(0, rules.NOTE, "none that the firmware tells of")
        self.write("sys/firmware/acpi/tables/DMAR", "x")
        self.expect(0, rules.NOTE, "VT-d is there, and not used")

    def test_virtio_without_platform_access(self):
        for bit, status in (("0", 1), ("1", 0)):
            with self.subTest(bit):
                device = f"sys/devices/pci0000:00/0000:00:0{bit}.0/virtio{bit}"
                self.pci_device(f"0000:00:0{bit}.0", "virtio-pci", f"virtio{bit}/block/vda", f"sys/block/vda{bit}")
                self.write(f"{device}/features", "0" * 33 + bit + "0" * 30 + "\n")
                self.assertEqual(rules.status(self.findings()), status)
                (self.root / f"sys/block/vda{bit}").unlink()

    def test_wifi_and_devices_without_a_driver(self):
        (self.root / "sys/class/net/eno1/wireless").mkdir()
        self.expect(1, rules.RESTRICTION, "Wi-Fi")
        (self.root / "sys/class/net/eno1/wireless").rmdir()
        (self.root / "sys/devices/pci0000:00/0000:00:19.0/driver").unlink()
        self.expect(1, rules.RESTRICTION, "no driver")

    def test_kernels(self):
        self.kernel("6.1.0-56-amd64", "CONFIG_XEN=y\n", b"\xfd7zXZ\0")
        self.expect(2, rules.OBSTACLE, "without CONFIG_XEN_PV_DOM0")
        self.kernel("6.1.0-57-amd64", "CONFIG_XEN_PV_DOM0=y\n", b"\xfd7zXZ\0")
        self.expect(0, rules.NOTE, "6.1.0-56-amd64 is built without")
        self.kernel("6.1.0-57-amd64", "CONFIG_XEN_PV_DOM0=y\n", b"BZh9")
        self.expect(2, rules.OBSTACLE, "packed with bzip2")

    def test_no_kernel_no_grub(self):
        (self.root / "boot/grub/grub.cfg").unlink()
        self.expect(2, rules.OBSTACLE, "no /boot/grub/grub.cfg")
        self.write("boot/grub/grub.cfg", "menu")
        (self.root / "boot/vmlinuz-6.1.0-56-amd64").unlink()
        self.expect(2, rules.OBSTACLE, "install linux-image-amd64")

    def test_room_in_boot(self):
        f = facts.read(self.root)
        f.boot_free = rules.LEAST_BOOT_ROOM - 1
        self.assertEqual(rules.status(rules.findings(f)), 2)

    def test_other_release(self):
        self.write("etc/os-release", 'ID=debian\nVERSION_ID="13"\n')
        self.expect(1, rules.RESTRICTION, "debian 13")

    def test_xendomains_that_saves(self):
        self.write("etc/default/xendomains", 'XENDOMAINS_SAVE=""\nXENDOMAINS_RESTORE=true\n')
        self.assertEqual(rules.status(self.findings()), 0)
        self.write("etc/default/xendomains", "XENDOMAINS_SAVE=/var/lib/xen/save\n")
        self.expect(1, rules.RESTRICTION, "XENDOMAINS_SAVE=")

    def test_files_that_make_no_sense(self):
        for path in ("proc/cpuinfo", "proc/meminfo", "sys/block/sda/size", "boot/vmlinuz-6.1.0-56-amd64", "etc/os-release"):
            self.write(path, b"")
        self.assertEqual(rules.status(self.findings()), 2)


class Command(Made):
    def run_it(self, json_wanted):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = check.main(Namespace(root=self.root, json=json_wanted))
        return status, out.getvalue()

    def test_json_says_the_same(self):
        self.cpus(65)
        status, text = self.run_it(True)
        said = json.loads(text)
        self.assertEqual((status, said["status"], said["facts"]["cpus"]), (1, 1, 65))
        self.assertIn("svm", said["facts"]["flags"])

    def test_text_ends_with_what_is_in_the_way(self):
        self.write("proc/meminfo", "MemTotal: 1000 kB\n")
        status, text = self.run_it(False)
        self.assertEqual(status, 2)
        self.assertIn("cannot run on this machine", text)
        self.assertIn("0 MiB: at least", text.partition("In the way:")[2])

    def test_a_root_that_is_none(self):
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(check.main(Namespace(root=self.root / "no", json=False)), 2)


class Limits(unittest.TestCase):
    """What rules.py says of the hypervisor is what the hypervisor says."""

    def test_cpus_and_memory(self):
        text = (ROOT / "hv/limits.hpp").read_text()
        self.assertEqual(int(re.search(r"kMaxCpus = (\d+)", text)[1]), rules.MAX_CPUS)
        layout = (ROOT / "hv/x86/paging/layout.hpp").read_text()
        self.assertIn(f"{rules.MAX_MEMORY_TIB} TiB of RAM", layout)

    def test_packed_kernels(self):
        """Every format of the hypervisor's table that it can unpack, and ELF without any."""
        text = (ROOT / "hv/x86/boot/unpack/unpack.cpp").read_text()
        known = {name.lower() for packing, name in re.findall(r'\{Packing::k(\w+), .*"(\w+)[^"]*"\},', text) if packing != "Foreign"}
        self.assertEqual(known | {"none"}, rules.KERNEL_PACKERS)
