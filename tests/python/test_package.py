"""The package xenolith-hypervisor: what it holds, and its maintainer scripts on a made-up system.

dpkg gives such scripts DPKG_ROOT when it installs into a directory from outside; GRUB's commands are played by stubs. With
the real ones, in an installed system: tests/system/host_package.py.
"""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from xenolith import package

# update-grub gives an entry for each kernel and, as 20_linux_xen does, for /boot/xen*; the settings may be broken.
STUBS = {
    "grub-mkconfig": '''[ ! -e "$DPKG_ROOT/etc/default/grub.d/broken" ] || { echo "grub.d/broken: 1: syntax error" >&2; exit 1; }
[ -e "$DPKG_ROOT/no-linux" ] || printf "menuentry Debian {\\n\\tlinux\\t/vmlinuz\\n}\\n"
for i in "$DPKG_ROOT"/boot/xen*; do [ ! -e "$i" ] || [ -e "$DPKG_ROOT/no-entry" ] || echo "menuentry Xen { ${i##*/} }"; done
[ ! -e "$DPKG_ROOT/boot/xenolith-0.1.gz" ] || [ ! -e "$DPKG_ROOT/bad-entry" ] || echo BROKEN''',
    "update-grub": 'grub-mkconfig > "$DPKG_ROOT/new" && cat "$DPKG_ROOT/new" > "$DPKG_ROOT/boot/grub/grub.cfg"; s=$?; rm -f "$DPKG_ROOT/new"; exit $s',
    "grub-script-check": '! grep -q BROKEN "$1"',
    "df": 'echo Heading; echo "dev 9 9 $(cat "$DPKG_ROOT/free") 9% /boot"',
    "grub-editenv": 'if [ $2 = list ]; then cat $1; else sed -i "/^$3=/d" $1; fi',
}
FIELDS = {"VERSION": "0.1+1", "UPSTREAM": "0.1", "IMAGE_KIB": "300", "SIZE": "1"}


class MaintainerScripts(unittest.TestCase):
    def setUp(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.root, self.programs, self.scripts = (folder / n for n in ("root", "programs", "scripts"))
        for d in ("boot/grub", "etc/default/grub.d", "run", "sys/hypervisor/version"):
            (self.root / d).mkdir(parents=True)
        for d in (self.programs, self.scripts):
            d.mkdir()
        for name, text in STUBS.items():
            (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.programs / name).chmod(0o755)
        for source in package.control_files(FIELDS).items():
            (self.scripts / source[0]).write_text(source[1])
        self.write("etc/os-release", 'ID=debian\nVERSION_ID="12"\n')
        self.write("etc/default/grub", "GRUB_DEFAULT=0\n")
        self.write("free", "100000")
        self.menu = self.root / "boot/grub/grub.cfg"
        self.run_program("update-grub")
        self.before = self.menu.read_text()

    def write(self, path, text):
        (self.root / path).write_text(text)

    def run_program(self, *argv):
        environment = {"PATH": f"{self.programs}:{os.environ['PATH']}", "DPKG_ROOT": str(self.root)}
        p = subprocess.run(argv, env=environment, capture_output=True, text=True)
        return p.returncode, p.stdout + p.stderr

    def script(self, name, *arguments):
        return self.run_program("/bin/sh", str(self.scripts / name), *arguments)

    def refused(self, says):
        status, text = self.script("preinst", "install")
        self.assertNotEqual(status, 0)
        self.assertIn(says, text)
        self.assertIn("Nothing was changed", text)

    def install(self):
        self.assertEqual(self.script("preinst", "install"), (0, ""))
        self.write("boot/xenolith-0.1.gz", "image")
        return self.script("postinst", "configure")

    def test_install_and_remove(self):
        status, text = self.install()
        self.assertEqual(status, 0, text)
        self.assertIn("what boots by default is as before", text)
        self.assertIn("xenolith-0.1.gz", self.menu.read_text())
        self.assertEqual(self.script("prerm", "remove"), (0, ""))
        (self.root / "boot/xenolith-0.1.gz").unlink()
        self.assertEqual(self.script("postrm", "remove")[0], 0)
        self.assertEqual(self.script("postrm", "purge")[0], 0)
        self.assertEqual(self.menu.read_text(), self.before)

    def test_other_releases_are_refused(self):
        for text in ('ID=debian\nVERSION_ID="13"\n', 'ID=ubuntu\nVERSION_ID="12.04"\n', "", 'ID=debian\nVERSION_ID="120"\n'):
            self.write("etc/os-release", text)
            self.refused("not Debian 12")
        self.write("etc/os-release", 'ID=debian\nVERSION_ID="12.15"\n')
        self.assertEqual(self.script("preinst", "upgrade", "0.1")[0], 0)

    def test_a_full_boot_is_refused(self):
        self.write("free", "1300")
        self.refused("/boot has 1300 KiB left")

    def test_a_broken_menu_is_refused(self):
        self.menu.write_text("BROKEN")
        self.refused("grub.cfg is damaged")

    def test_broken_settings_are_refused(self):
        self.write("etc/default/grub.d/broken", "")
        self.refused("(grub.d/broken: 1: syntax error)")

    def test_no_grub_is_told(self):
        self.menu.unlink()
        status, text = self.script("preinst", "install")
        self.assertEqual(status, 0)
        self.assertIn("run update-grub when GRUB is set up", text)
        self.assertEqual(self.script("postinst", "configure"), (0, ""))

    def test_the_old_menu_is_put_back(self):
        self.write("bad-entry", "")
        status, text = self.install()
        self.assertNotEqual(status, 0)
        self.assertIn("The old one is back", text)
        self.assertEqual(self.menu.read_text(), self.before)

    def test_the_ordinary_kernel_must_stay(self):
        self.write("no-linux", "")
        status, text = self.install()
        self.assertNotEqual(status, 0)
        self.assertIn("the ordinary kernel has no entry", text)
        self.assertEqual(self.menu.read_text(), self.before)

    def test_no_entry_is_told(self):
        self.write("no-entry", "")
        status, text = self.install()
        self.assertEqual(status, 0)
        self.assertIn("CONFIG_XEN_DOM0", text)

    def test_a_default_that_counts_entries_is_told(self):
        self.write("etc/default/grub", "GRUB_DEFAULT=2\n")
        self.assertIn("is a number", self.install()[1])
        self.write("etc/default/grub", "GRUB_DEFAULT=saved\n")
        self.assertNotIn("is a number", self.install()[1])

    def test_grub_forgets_the_entry(self):
        self.install()
        self.write("boot/grub/grubenv", "next_entry=A>B, version xenolith-0.1\nsaved_entry=0\n")
        self.assertEqual(self.script("prerm", "upgrade"), (0, ""))
        self.assertIn("next_entry", (self.root / "boot/grub/grubenv").read_text())
        self.assertEqual(self.script("prerm", "remove"), (0, ""))
        self.assertEqual((self.root / "boot/grub/grubenv").read_text(), "saved_entry=0\n")

    def test_under_xen_a_reboot_is_asked_for_once(self):
        self.write("sys/hypervisor/type", "xen\n")
        self.install()
        self.install()
        self.assertEqual((self.root / "run/reboot-required.pkgs").read_text(), "xenolith-hypervisor\n")


class Settings(unittest.TestCase):
    """xenolith.cfg, read by a shell as grub-mkconfig reads it."""

    def default(self, override, images):
        with tempfile.TemporaryDirectory() as folder:
            text = (package.FILES / "root/etc/default/grub.d/xenolith.cfg").read_text()
            for path in ("/boot/", "/etc/default/grub "):
                text = text.replace(f" {path}", f" {folder}{path}")
            for image in images:
                (Path(folder) / "boot").mkdir(exist_ok=True)
                (Path(folder) / "boot" / image).touch()
            (Path(folder) / "etc/default").mkdir(parents=True)
            (Path(folder) / "etc/default/grub").write_text("GRUB_DEFAULT=saved\n")
            script = f"set -e\nXEN_OVERRIDE_GRUB_DEFAULT={override}\nGRUB_DEFAULT='Debian, with Xen hypervisor'\n{text}\necho \"$GRUB_DEFAULT\""
            return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout.strip()

    def test_the_default_stays_the_ordinary_kernel(self):
        xen = "Debian, with Xen hypervisor"
        self.assertEqual(self.default("1", ["xenolith-0.1.gz"]), "saved")
        self.assertEqual(self.default("1", ["xenolith-0.1.gz", "xen-4.17-amd64.gz"]), xen)
        self.assertEqual(self.default("1", []), xen)
        self.assertEqual(self.default("0", ["xenolith-0.1.gz"]), xen)


class Contents(unittest.TestCase):
    def test_what_it_holds(self):
        with tempfile.TemporaryDirectory() as folder:
            deb = package.make(Path("/bin/true"), Path(folder), Path("/bin/false"))
            again = deb.read_bytes()
            self.assertEqual(package.make(Path("/bin/true"), Path(folder), Path("/bin/false")).read_bytes(), again, "the same sources gave other bytes")
            names = subprocess.run(["dpkg-deb", "--contents", deb], capture_output=True, text=True, check=True).stdout
            fields = subprocess.run(["dpkg-deb", "--field", deb], capture_output=True, text=True, check=True).stdout
            tree = Path(folder) / "tree"
            subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
            said = subprocess.run([tree / "usr/sbin/xenolith-check", "--help"], capture_output=True, text=True,
                                  env={"PATH": "/usr/bin"}).stderr
        for path in ("./boot/xenolith-0.1.gz", "./usr/sbin/xenolith-try", "./usr/lib/xenolith/xenolith.efi",
                     "./usr/share/doc/xenolith-hypervisor/examples/xenolith.cfg", "./etc/default/grub.d/xenolith.cfg",
                     "./usr/share/man/man8/xenolith-check.8.gz", "./usr/share/xenolith/xenolith_host/rules.py"):
            self.assertIn(f" {path}\n", names)
        self.assertNotIn("pycache", names)
        self.assertNotIn("@", fields.replace("xenolith@localhost", ""))
        self.assertIn("No module named 'xenolith_host'", said)  # it looks where the package puts it, and nowhere else
