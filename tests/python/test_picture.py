"""bench/picture.py: the tables drawn."""

import sys
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import picture  # noqa: E402
from picture import Bar  # noqa: E402

GROUPS = [
    ("first", [Bar("a < b", 0.25, 0.45, True), Bar("without a goal", 0.5, None, None), Bar("missed", 0.5, 0.45, False),
               Bar("worse", 7.0, 0.9, False), Bar("not measured", None, 0.45, None)]),
    ("nothing measured", [Bar("not measured", None, 0.45, None)]),
    ("second", [Bar("over its limit", 0.9, None, False)]),
]


class Picture(unittest.TestCase):
    def setUp(self):
        self.root = xml.fromstring(picture.draw(GROUPS))
        self.bars = [e for e in self.root.iter() if e.get("class") in ("good", "missed", "worse")]
        self.texts = [e.text for e in self.root.iter() if e.tag.endswith("text")]

    def test_bars_say_how_good_each_row_is(self):
        self.assertEqual([b.get("class") for b in self.bars], ["good", "good", "missed", "worse", "missed"])

    def test_bars_are_as_long_as_the_ratios(self):
        widths = [float(b.get("width")) for b in self.bars]
        self.assertAlmostEqual(widths[1] / widths[0], 2, places=1)
        self.assertLessEqual(widths[3], picture.BARS)

    def test_text_and_figures_are_there(self):
        for text in ("a < b", "0.25", "7.00"):
            self.assertIn(text, self.texts)
        self.assertNotIn("not measured", self.texts)

    def test_groups_stand_below_each_other(self):
        self.assertNotIn("nothing measured", self.texts)
        self.assertLess(self.texts.index("worse"), self.texts.index("second"))
        places = [float(b.get("y")) for b in self.bars]
        self.assertEqual(places, sorted(set(places)))
        self.assertLess(places[-1], float(self.root.get("height")))


if __name__ == "__main__":
    unittest.main()
