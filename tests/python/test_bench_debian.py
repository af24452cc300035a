"""What `./xenolith bench --debian` reads off a console."""

import importlib.util
import sys
import unittest
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
_spec = importlib.util.spec_from_file_location("bench_debian", BENCH / "debian.py")
debian = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(debian)

CONSOLE = """STAMP shell 5000 4000
STAMP create_plain1 7000 7400
STAMP destroy_plain1 9000 9100
STAMP create_plain2 10000 10500
STAMP destroy_plain2 11000 11300
STAMP guest_plain1_init 8000 7350
STAMP guest_plain2_init 10900 10450
BENCH pipe 12.40 13.60
""".splitlines()


class Console(unittest.TestCase):
    def setUp(self):
        self.figures, self.stamps = debian.parse(CONSOLE)
        self.spans = debian.from_stamps(self.stamps, 1000)

    def test_a_loop_is_rounded(self):
        self.assertEqual(self.figures, {"pipe": (12, 14)})

    def test_boot_begins_after_the_firmware(self):
        self.assertEqual(self.spans["boot_to_shell"], (4000, 4000))

    def test_a_creation_ends_with_the_guests_kernel(self):
        self.assertEqual(self.spans["create"], (350, 350))  # of 350 and 450: the lower one of two

    def test_spans_of_guests(self):
        self.assertEqual(self.spans["destroy"], (100, 100))
        self.assertEqual(self.spans["guest_boot"], (450, 450))

    def test_what_is_not_there_has_no_figure(self):
        self.assertNotIn("create_devices", self.spans)
        self.assertEqual(debian.from_stamps({}, 0), {})
