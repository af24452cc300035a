"""bench/smp.py: what counts as two CPUs at once, and when the machine was too busy."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import smp  # noqa: E402

ROW = ("one_domain", "null_hypercall")


def measured(*boots):
    """Of boots that counted so: (alone, first of both, second of both)."""
    m = smp.Measured()
    for alone, *both in boots:
        lines = [f"SMP {' '.join(ROW)} alone {who} {' '.join(map(str, alone))}" for who in "01"]
        lines += [f"SMP {' '.join(ROW)} both {who} {' '.join(map(str, n))}" for who, n in zip("01", both)]
        m.boots.append(smp.Boot(lines))
    return m


class Smp(unittest.TestCase):
    def test_a_stretch_counts_only_where_both_advanced(self):
        first, second = [100] * 10, [100, 100, 0, 100, 100, 50, 50, 50, 50, 50]
        rate = smp.best_stretch(first, second)
        self.assertAlmostEqual(rate * smp.STRETCH * smp.WINDOW, 5 * 100 + 2 * 100 + 3 * 50)

    def test_ratio_is_that_of_the_best_boots(self):
        steady = [100] * 10
        m = measured((steady, steady, steady), ([90] * 10, [50] * 10, [50] * 10))
        self.assertAlmostEqual(m.ratio(ROW), 2)
        self.assertEqual(list(smp.objections({"xenolith": m}, ROW)), [])

    def test_a_busy_machine_is_named(self):
        steady = [100] * 10
        uneven = measured((steady, steady, steady), ([80] * 10, steady, steady))
        self.assertIn("differed by 20%", "".join(smp.objections({"stock": uneven}, ROW)))
        in_turn = measured((steady, [100, 0] * 5, [0, 100] * 5))
        self.assertIn("only 0% of the windows", "".join(smp.objections({"stock": in_turn}, ROW)))

    def test_a_boot_without_figures_is_no_ratio(self):
        self.assertEqual(smp.Measured().ratio(ROW), 0)


if __name__ == "__main__":
    unittest.main()
