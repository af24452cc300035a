"""What the bench reads off the console of a boot with Debian, and off Debian's packages."""

import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import debian  # noqa: E402
import debian_boot  # noqa: E402
from table import Figure  # noqa: E402

CONSOLE = """STAMP shell 5000 4000
STAMP create_plain1 7000 7400
STAMP destroy_plain1 9000 9100
STAMP create_plain2 10000 10500
STAMP destroy_plain2 11000 11300
STAMP guest_plain1_init 8000 7350
STAMP guest_plain2_init 10900 10450
BENCH pipe 12.40 13.60 2000
""".splitlines()


class Console(unittest.TestCase):
    def setUp(self):
        self.figures, self.stamps = debian_boot.parse(CONSOLE)
        self.spans = debian.from_stamps(self.stamps, 1000)

    def test_a_loop_is_rounded(self):
        self.assertEqual(self.figures, {"pipe": Figure(12, 14, 2000)})

    def test_boot_begins_after_the_firmware(self):
        self.assertEqual(self.spans["boot_to_shell"], Figure(4000, 4000, 1))
        self.assertNotIn("boot_to_shell", debian.from_stamps(self.stamps, None))

    def test_a_creation_ends_with_the_guests_kernel(self):
        self.assertEqual(self.spans["create"], Figure(350, 350, 2))  # of 350 and 450: the lower one of two

    def test_spans_of_guests(self):
        self.assertEqual(self.spans["destroy"], Figure(100, 100, 2))
        self.assertEqual(self.spans["guest_boot"], Figure(450, 450, 2))

    def test_what_is_not_there_has_no_figure(self):
        self.assertNotIn("create_devices", self.spans)
        self.assertEqual(debian.from_stamps({}, 0), {})


class Versions(unittest.TestCase):
    def test_a_kernel_names_its_package(self):
        image = bytearray(0x800)
        struct.pack_into("<H", image, 0x20E, 0x300)
        text = b"6.1.0-57-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-3 (2026-11-20)\0"
        image[0x500:0x500 + len(text)] = text
        self.assertEqual(debian_boot.kernel_version(bytes(image)), "6.1.192-3")
