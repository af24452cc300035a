"""bench/smp.py: what counts as two CPUs at once, and when the machine was too busy."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import smp  # noqa: E402

ROW = ("one_domain", "null_hypercall")


def measured(*boots):
    """Of boots that counted so, a list of turns each: (alone, first of both, second of both)."""
    m = smp.Measured()
    for turns in boots:
        lines = []
        for number, (alone, *both) in enumerate(turns):
            row = f"SMP {' '.join(ROW)} {number}"
            lines += [f"{row} alone {who} {' '.join(map(str, alone))}" for who in "01"]
            lines += [f"{row} both {who} {' '.join(map(str, n))}" for who, n in zip("01", both)]
        m.boots.append(smp.Boot(lines))
    return m


class Smp(unittest.TestCase):
    def test_a_stretch_counts_only_where_both_advanced(self):
        first, second = [100] * 10, [100, 100, 0, 100, 100, 50, 50, 50, 50, 50]
        rate = smp.best_stretch(first, second)
        self.assertAlmostEqual(rate * smp.STRETCH * smp.WINDOW, 5 * 100 + 2 * 100 + 3 * 50)

    def test_ratio_is_the_median_of_each_turns_own(self):
        steady, slow, late = [100] * 10, [50] * 10, [75] * 10
        m = measured([(steady, steady, steady), (slow, slow, slow)], [(steady, late, late)])
        self.assertAlmostEqual(m.ratio(ROW), 2)
        self.assertAlmostEqual(m.rate(ROW, "alone"), 100 / smp.WINDOW)

    def test_a_turn_in_which_one_stood_still_has_no_ratio(self):
        steady, halting = [100] * 10, [200, 0] * 5
        m = measured([(steady, steady, halting), (steady, steady, steady)])
        self.assertEqual(m.boots[0].ratios(ROW), [2])
        self.assertAlmostEqual(m.at_once(ROW), 0.75)

    def test_a_busy_machine_is_named(self):
        steady, late = [100] * 10, [75] * 10
        good, bad = [(steady, steady, steady)], [(steady, late, late)]
        even = measured(good, good, good, bad)
        self.assertEqual(list(smp.objections({"xenolith": even}, ROW)), [])
        uneven = measured(good, bad, good, bad)
        self.assertIn("between 1.50 and 2.00", "".join(smp.objections({"stock": uneven}, ROW)))
        in_turn = measured([(steady, [100, 0] * 5, [0, 100] * 5)])
        self.assertIn("only 0% of the windows", "".join(smp.objections({"stock": in_turn}, ROW)))

    def test_rows_are_picked_by_name(self):
        self.assertEqual(smp.choose("^two_.*[.]grant_copy$"), [("two_domains", "grant_copy")])
        self.assertEqual(len(smp.choose(None)), len(smp.PLACES) * len(smp.OPERATIONS))
        for bad in ("nothing_like_it", "("):
            with self.assertRaises(LookupError):
                smp.choose(bad)

    def test_cpu_time_is_all_but_idling(self):
        tick = smp.os.sysconf("SC_CLK_TCK")
        line = "cpu " + " ".join(str(n * tick) for n in (1, 2, 3, 1000, 2000, 4, 5, 6, 7, 8))
        self.assertEqual(smp.cpu_seconds(line + "\ncpu0 1 2 3"), 1 + 2 + 3 + 4 + 5 + 6)

    def test_a_boot_without_figures_is_no_ratio(self):
        self.assertEqual(smp.Measured().ratio(ROW), 0)


if __name__ == "__main__":
    unittest.main()
